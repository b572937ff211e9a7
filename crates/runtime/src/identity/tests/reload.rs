use std::fs;
use std::os::unix::fs::PermissionsExt;

use bailiwick_domain::spiffe::ProcessRole;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::server;

use super::super::*;
use super::authority::{Authority, PATIENCE};
use crate::socket::Socket;

const WORKER: ProcessRole = ProcessRole::Worker;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("identity");
    (folder, inner)
}

#[test]
fn an_identity_survives_on_disk_with_a_private_key_for_its_owner_only() {
    let authority = Authority::of("eu-central-1");
    let (_folder, dir) = folder();
    assert!(!Identity::exists(&dir));
    let written =
        Identity::establish(&dir, authority.trust_domain.clone(), &authority.material(WORKER)).unwrap();
    assert!(Identity::exists(&dir));
    let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("key.pem"), mode("")), (0o600, 0o700));

    let read = Identity::load_dir(&dir, authority.trust_domain.clone()).unwrap();
    assert_eq!(read.fingerprint(), written.fingerprint());
    assert_eq!(read.spiffe_id().to_string(), "spiffe://eu-central-1.local/worker/one");
    assert!(!format!("{read:?} {:?}", authority.material(WORKER)).contains("PRIVATE"));
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let authority = Authority::of("eu-central-1");
    let (_folder, dir) = folder();
    Identity::establish(&dir, authority.trust_domain.clone(), &authority.material(WORKER)).unwrap();
    fs::set_permissions(dir.join("key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let error = Identity::load_dir(&dir, authority.trust_domain.clone()).expect_err("refused");
    assert!(error.to_string().contains("chmod 0600"), "{error}");
}

#[test]
fn an_identity_of_another_region_key_or_root_is_refused() {
    let (ours, theirs) = (Authority::of("eu-central-1"), Authority::of("us-east-1"));
    let check =
        |material: &Material| Identity::in_memory(ours.trust_domain.clone(), material).expect_err("refused");
    assert!(matches!(check(&theirs.material(WORKER)), IdentityError::Name(_)));

    let (one, other) = (ours.material(WORKER), ours.material(WORKER));
    let mixed = Material { key_pem: other.key_pem.clone(), ..one.clone() };
    assert!(matches!(check(&mixed), IdentityError::KeyMismatch));
    let foreign_root = Material { root_pem: theirs.material(WORKER).root_pem, ..one.clone() };
    assert!(matches!(check(&foreign_root), IdentityError::ForeignRoot { .. }));
    let two_roots =
        Material { root_pem: format!("{}{}", one.root_pem, foreign_root.root_pem), ..one.clone() };
    assert!(matches!(check(&two_roots), IdentityError::ForeignRoot { .. }), "also beside our own");
    let another = Material { root_pem: Authority::of("eu-central-1").root_pem, ..one.clone() };
    assert!(matches!(check(&another), IdentityError::Chain(_)));
    let three = Material { root_pem: one.root_pem.repeat(3), ..one.clone() };
    assert!(matches!(check(&three), IdentityError::Roots { found: 3 }));
    let none = Material { root_pem: String::new(), ..one };
    assert!(matches!(check(&none), IdentityError::Malformed { .. }));
}

#[test]
fn a_crash_in_the_middle_of_a_replacement_leaves_the_new_identity_whole() {
    let authority = Authority::of("eu-central-1");
    let (_folder, dir) = folder();
    let new = Identity::establish(&dir, authority.trust_domain.clone(), &authority.material(WORKER)).unwrap();
    // As a crash after the first of three moves leaves it: the key is still in `pending`, the rest is old or new.
    let pending = dir.join("pending");
    fs::create_dir(&pending).unwrap();
    fs::rename(dir.join("key.pem"), pending.join("key.pem")).unwrap();
    fs::rename(dir.join("cert.pem"), pending.join("cert.pem")).unwrap();
    fs::write(dir.join("cert.pem"), authority.material(WORKER).certificate_pem).unwrap();

    let read = Identity::load_dir(&dir, authority.trust_domain.clone()).unwrap();
    assert_eq!(read.fingerprint(), new.fingerprint());
    assert!(!pending.exists());
}

#[test]
fn whoever_reads_while_another_finishes_a_replacement_reads_it_whole() {
    let authority = Authority::of("eu-central-1");
    let (_folder, dir) = folder();
    let domain = authority.trust_domain.clone();
    Identity::establish(&dir, domain.clone(), &authority.material(WORKER)).unwrap();
    for _ in 0..200 {
        // As a crash before the first of the moves leaves it; then two processes start at once.
        let pending = dir.join("pending");
        fs::create_dir(&pending).unwrap();
        for name in ["ca.pem", "cert.pem", "key.pem"] {
            fs::copy(dir.join(name), pending.join(name)).unwrap();
        }
        std::thread::scope(|scope| {
            let read = || Identity::load_dir(&dir, domain.clone());
            let both = [scope.spawn(read), scope.spawn(read)];
            for one in both {
                one.join().unwrap().unwrap();
            }
        });
    }
}

#[test]
fn a_replacement_that_is_refused_changes_nothing() {
    let authority = Authority::of("eu-central-1");
    let (_folder, dir) = folder();
    let identity =
        Identity::establish(&dir, authority.trust_domain.clone(), &authority.material(WORKER)).unwrap();
    let before = identity.fingerprint();
    identity.replace(&Authority::of("us-east-1").material(WORKER)).expect_err("refused");
    assert_eq!(identity.fingerprint(), before);
    assert_eq!(Identity::load_dir(&dir, authority.trust_domain.clone()).unwrap().fingerprint(), before);
}

#[test]
fn a_request_to_certify_carries_a_key_that_fits_and_no_name() {
    let (key, csr) = new_key_and_csr().unwrap();
    assert!(key.expose().contains("PRIVATE KEY") && !format!("{key:?}").contains("PRIVATE KEY-"));
    let request = rcgen::CertificateSigningRequestParams::from_pem(&csr.0).unwrap();
    assert!(request.params.subject_alt_names.is_empty());
    let pair = rcgen::KeyPair::from_pem(key.expose()).unwrap();
    assert_eq!(rcgen::PublicKeyData::der_bytes(&request.public_key), pair.public_key_raw());
}

async fn connect(
    listener: &TcpListener,
    acceptor: &Acceptor,
    connector: &Connector,
) -> (server::TlsStream<Socket>, Peer, ClientStream) {
    let address = listener.local_addr().unwrap();
    let accepting = async {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await.unwrap()
    };
    let ((accepted, peer), dialled) =
        tokio::join!(accepting, async { connector.connect(address).await.unwrap() });
    (accepted, peer, dialled)
}

#[tokio::test]
async fn renewed_certificates_are_used_at_once_and_open_connections_live_on() {
    let authority = Authority::of("eu-central-1");
    let (worker, control_plane) = (authority.identity(WORKER), authority.identity(ProcessRole::ControlPlane));
    let acceptor = Acceptor::new(control_plane.clone(), &[WORKER]).unwrap();
    let connector = Connector::new(worker.clone(), ProcessRole::ControlPlane).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();

    let (mut server, first, mut client) = connect(&listener, &acceptor, &connector).await;
    assert_eq!(first.fingerprint, worker.fingerprint());
    let changes = worker.changes();
    worker.replace(&authority.material(WORKER)).unwrap();
    control_plane.replace(&authority.material(ProcessRole::ControlPlane)).unwrap();
    assert!(changes.has_changed().unwrap());

    let (_server, second, _client) = connect(&listener, &acceptor, &connector).await;
    assert_eq!(second.fingerprint, worker.fingerprint());
    assert_ne!(second.fingerprint, first.fingerprint);
    client.write_all(b"still here").await.unwrap();
    let mut heard = [0; 10];
    server.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"still here");
}

#[tokio::test]
async fn files_that_somebody_replaces_are_followed_and_bad_ones_are_not() {
    let authority = Authority::of("eu-central-1");
    let (_folder, dir) = folder();
    let identity =
        Identity::establish(&dir, authority.trust_domain.clone(), &authority.material(WORKER)).unwrap();
    let before = identity.fingerprint();
    let mut watching = JoinSet::new();
    watching.spawn({
        let identity = identity.clone();
        async move { identity.watch_files(std::future::pending()).await }
    });
    let mut changes = identity.changes();

    fs::write(dir.join("cert.pem"), "no certificate").unwrap();
    // A second process of the same identity renews it.
    let other = Identity::in_memory(authority.trust_domain.clone(), &authority.material(WORKER)).unwrap();
    assert_eq!(identity.fingerprint(), before);
    let new = authority.material(WORKER);
    files::write(&dir, &new).unwrap();
    tokio::time::timeout(PATIENCE, changes.changed()).await.expect("in time").unwrap();
    let expected = Identity::in_memory(authority.trust_domain.clone(), &new).unwrap().fingerprint();
    assert_eq!(identity.fingerprint(), expected);
    assert_ne!(identity.fingerprint(), other.fingerprint());
}
