//! What is revoked is refused at both ends, and who is revoked hears it.

use bailiwick_domain::spiffe::ProcessRole;
use bailiwick_domain::time::{Clock, SystemClock};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::super::*;
use super::authority::{Authority, PATIENCE};

const WORKER: ProcessRole = ProcessRole::Worker;
const CONTROL_PLANE: ProcessRole = ProcessRole::ControlPlane;

/// Everything that the holder was given until a minute ago.
fn revocation(authority: &Authority, role: ProcessRole) -> Revocation {
    let now = SystemClock.now();
    Revocation {
        holder: authority.name(role).parse().unwrap(),
        issued_until: now.saturating_sub(Duration::from_secs(60)),
        expires: now.saturating_add(Duration::from_secs(3600)),
    }
}

/// Dials, and reads to the end of the connection; and how the acceptor saw it.
async fn visit(acceptor: &Acceptor, connector: &Connector) -> (std::io::Result<Peer>, std::io::Result<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = async {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await.map(|(_stream, peer)| peer)
    };
    let dialling = async {
        let mut stream = connector.connect(address).await?;
        // With TLS 1.3 a refusal shows at the first read; who is admitted sees the connection closed.
        match stream.read_u8().await {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(()),
            other => other.map(drop),
        }
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(accepting, dialling) }).await.expect("in time")
}

#[tokio::test]
async fn r3_a_revoked_caller_is_refused_in_the_handshake_and_told_why() {
    let authority = Authority::of("eu-central-1");
    let server = authority.identity(CONTROL_PLANE);
    let acceptor = Acceptor::new(server.clone(), &[WORKER]).unwrap();
    let worker = authority.identity(WORKER);
    let connector = Connector::new(worker.clone(), CONTROL_PLANE).unwrap();
    visit(&acceptor, &connector).await.0.expect("admitted");

    assert!(server.revocations().learn([revocation(&authority, WORKER)], SystemClock.now()));
    let (accepted, dialled) = visit(&acceptor, &connector).await;
    assert_eq!(accepted.expect_err("refused").to_string(), "the certificate is revoked");
    let heard = dialled.expect_err("refused").to_string();
    assert!(heard.contains("CertificateRevoked"), "{heard}");
    assert!(worker.is_disowned());

    let successor = authority.reissued(WORKER);
    let connector = Connector::new(successor, CONTROL_PLANE).unwrap();
    visit(&acceptor, &connector)
        .await
        .0
        .expect("a certificate of the same name that is issued later is good");
}

#[tokio::test]
async fn r3_a_revoked_process_is_not_dialled() {
    let authority = Authority::of("eu-central-1");
    let acceptor = Acceptor::new(authority.identity(WORKER), &[ProcessRole::Router]).unwrap();
    let router = authority.identity(ProcessRole::Router);
    let connector = Connector::new(router.clone(), WORKER).unwrap();
    visit(&acceptor, &connector).await.1.expect("dialled");
    router.revocations().learn([revocation(&authority, WORKER)], SystemClock.now());
    let refused = visit(&acceptor, &connector).await.1.expect_err("not dialled");
    assert_eq!(refused.to_string(), "the certificate is revoked");
}

#[tokio::test]
async fn only_a_control_plane_can_tell_a_process_that_it_is_revoked() {
    let authority = Authority::of("eu-central-1");
    let worker = authority.identity(WORKER);
    let acceptor = Acceptor::new(worker.clone(), &[ProcessRole::Router]).unwrap();
    worker.revocations().learn([revocation(&authority, ProcessRole::Router)], SystemClock.now());
    let router = authority.identity(ProcessRole::Router);
    let connector = Connector::new(router.clone(), WORKER).unwrap();
    visit(&acceptor, &connector).await.1.expect_err("refused");
    assert!(!router.is_disowned(), "a worker that was taken over could shut every router out");
}

#[tokio::test]
async fn an_open_connections_peer_is_forfeited_when_it_is_revoked() {
    let authority = Authority::of("eu-central-1");
    let server = authority.identity(CONTROL_PLANE);
    let acceptor = Acceptor::new(server.clone(), &[WORKER]).unwrap();
    let connector = Connector::new(authority.identity(WORKER), CONTROL_PLANE).unwrap();
    let peer = visit(&acceptor, &connector).await.0.expect("admitted");
    assert!(!peer.is_revoked());
    let (_, learned) = tokio::time::timeout(PATIENCE, async {
        tokio::join!(peer.forfeited(), async {
            server.revocations().learn([revocation(&authority, WORKER)], SystemClock.now())
        })
    })
    .await
    .expect("in time");
    assert!(learned && peer.is_revoked());
}

#[test]
fn a_disowned_identitys_files_are_gone() {
    let authority = Authority::of("eu-central-1");
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("identity");
    let identity =
        Identity::establish(&directory, authority.trust_domain.clone(), &authority.material(WORKER)).unwrap();
    identity.disown();
    identity.disown();
    assert!(!Identity::exists(&directory));
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
}

/// What the enrollment listener makes of who presents this.
async fn return_of(
    authority: &Authority,
    server: &Identity,
    material: &Material,
) -> std::io::Result<Newcomer> {
    let acceptor = EnrollmentAcceptor::new(server.clone()).unwrap();
    let worker = Identity::in_memory(authority.trust_domain.clone(), material).unwrap();
    let connector = Connector::new(worker, CONTROL_PLANE).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = async {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await.map(|(_stream, newcomer)| newcomer)
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(accepting, connector.connect(address)) })
        .await
        .expect("in time")
        .0
}

#[tokio::test]
async fn r3_an_expired_certificate_returns_within_the_grace_and_not_after_it() {
    let authority = Authority::of("eu-central-1");
    let server = authority.identity(CONTROL_PLANE);
    let minute = Duration::from_secs(60);
    let lately = authority.expired(WORKER, RECOVERY_GRACE.saturating_sub(minute));
    let returning =
        return_of(&authority, &server, &lately).await.expect("admitted").returning.expect("known");
    assert_eq!(returning.spiffe.to_string(), authority.name(WORKER));
    assert!(returning.expires < SystemClock.now());

    let long_ago = authority.expired(WORKER, RECOVERY_GRACE.saturating_add(minute));
    let refused = return_of(&authority, &server, &long_ago).await.expect_err("too late").to_string();
    assert!(refused.contains("expired"), "{refused}");
    let early = authority.issue(&[&authority.name(WORKER)], 3000, 4000);
    let refused = return_of(&authority, &server, &early).await.expect_err("too early").to_string();
    assert!(refused.contains("not valid yet"), "{refused}");
    let operator = authority.expired(ProcessRole::Operator, minute);
    return_of(&authority, &server, &operator).await.expect_err("no process");

    server.revocations().learn([revocation(&authority, WORKER)], SystemClock.now());
    let refused = return_of(&authority, &server, &lately).await.expect_err("revoked").to_string();
    assert_eq!(refused, "the certificate is revoked");
}

#[tokio::test]
async fn r3_an_expired_certificate_opens_no_other_door() {
    let authority = Authority::of("eu-central-1");
    let acceptor = Acceptor::new(authority.identity(CONTROL_PLANE), &[WORKER]).unwrap();
    let expired = authority.expired(WORKER, Duration::from_secs(1));
    let worker = Identity::in_memory(authority.trust_domain.clone(), &expired).unwrap();
    let connector = Connector::new(worker, CONTROL_PLANE).unwrap();
    let refused = visit(&acceptor, &connector).await.0.expect_err("refused").to_string();
    assert!(refused.contains("expired"), "{refused}");
}
