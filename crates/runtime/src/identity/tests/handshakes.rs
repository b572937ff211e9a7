use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bailiwick_domain::key::CaFingerprint;
use bailiwick_domain::spiffe::ProcessRole;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme, SupportedProtocolVersion};
use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::super::*;
use super::authority::{Authority, PATIENCE};
use crate::identity::tls::provider;

const WORKER: ProcessRole = ProcessRole::Worker;
const CONTROL_PLANE: ProcessRole = ProcessRole::ControlPlane;

/// What became of a handshake between one who accepts and one who dials; and whether a byte got through afterwards.
pub(super) async fn meet<A, D>(
    accept: impl FnOnce(TcpStream) -> A,
    dial: impl FnOnce(SocketAddr) -> D,
) -> (A::Output, D::Output)
where
    A: Future,
    D: Future,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = async {
        let (stream, _) = listener.accept().await.unwrap();
        accept(stream).await
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(accepting, dial(address)) }).await.expect("in time")
}

fn acceptor(authority: &Authority) -> Acceptor {
    Acceptor::new(authority.identity(CONTROL_PLANE), &[WORKER, ProcessRole::Router]).unwrap()
}

/// Serves one byte to whoever is admitted.
pub(super) async fn greet(acceptor: Acceptor, stream: TcpStream) -> io::Result<Peer> {
    let (mut stream, peer) = acceptor.accept(stream).await?;
    stream.write_all(b"!").await?;
    stream.shutdown().await?;
    Ok(peer)
}

/// A client that trusts everybody and presents what it likes.
pub(super) fn liar(material: Option<&Material>, version: &'static SupportedProtocolVersion) -> TlsConnector {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible));
    let config = match material {
        None => builder.with_no_client_auth(),
        Some(material) => {
            let (chain, key) = parts(material);
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    TlsConnector::from(Arc::new(config))
}

pub(super) fn parts(material: &Material) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain =
        CertificateDer::pem_slice_iter(material.certificate_pem.as_bytes()).map(Result::unwrap).collect();
    (chain, PrivateKeyDer::from_pem_slice(material.key_pem.expose_secret().as_bytes()).unwrap())
}

/// Dials with a liar's material, and tells whether the greeting came.
pub(super) async fn greeted(connector: TlsConnector, address: SocketAddr) -> io::Result<u8> {
    let stream = TcpStream::connect(address).await?;
    let mut stream = connector.connect(ServerName::IpAddress(address.ip().into()), stream).await?;
    stream.read_u8().await
}

/// The acceptor's reason for refusing a liar's material.
async fn refusal_of(authority: &Authority, material: Option<&Material>) -> String {
    let (accepted, greeting) =
        meet(|stream| greet(acceptor(authority), stream), |address| greeted(liar(material, &TLS13), address))
            .await;
    assert!(greeting.is_err(), "nothing may get through");
    accepted.expect_err("refused").to_string()
}

/// The connector's reason for refusing a server with this material.
pub(super) async fn refusal_by_client(connector: Connector, material: &Material) -> String {
    let (chain, key) = parts(material);
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let (accepted, dialled) = meet(
        |stream| async move { TlsAcceptor::from(Arc::new(config)).accept(stream).await.map(drop) },
        |address| async move { connector.connect(address).await },
    )
    .await;
    assert!(accepted.is_err());
    dialled.expect_err("refused").to_string()
}

#[tokio::test]
async fn processes_of_one_region_know_each_other() {
    let authority = Authority::of("eu-central-1");
    let connector = Connector::new(authority.identity(WORKER), CONTROL_PLANE).unwrap();
    let (accepted, dialled) = meet(
        |stream| greet(acceptor(&authority), stream),
        |address| async move {
            let mut stream = connector.connect(address).await?;
            assert!(stream.tcp().nodelay()?);
            stream.read_u8().await
        },
    )
    .await;
    assert_eq!(dialled.unwrap(), b'!');
    let peer = accepted.unwrap();
    assert_eq!(peer.spiffe.to_string(), "spiffe://eu-central-1.local/worker/one");
    assert!(peer.expires.as_micros() > 0);
}

#[tokio::test]
async fn r3_a_process_of_another_region_is_refused_and_told_apart() {
    let (ours, theirs) = (Authority::of("eu-central-1"), Authority::of("us-east-1"));
    let reason = refusal_of(&ours, Some(&theirs.material(WORKER))).await;
    assert!(reason.contains("spiffe://us-east-1.local/worker/one"), "{reason}");
    assert!(reason.contains("here is eu-central-1.local"), "{reason}");

    let dials_us_east = Connector::new(ours.identity(WORKER), CONTROL_PLANE).unwrap();
    let reason = refusal_by_client(dials_us_east, &theirs.material(CONTROL_PLANE)).await;
    assert!(reason.contains("us-east-1.local"), "{reason}");
}

#[tokio::test]
async fn r3_a_foreign_authority_that_copies_our_names_is_refused() {
    let (ours, impostor) = (Authority::of("eu-central-1"), Authority::of("eu-central-1"));
    // Same subject, same trust domain, another key: the signature does not fit.
    let reason = refusal_of(&ours, Some(&impostor.material(WORKER))).await;
    assert!(reason.contains("UnknownIssuer") || reason.contains("BadSignature"), "{reason}");
    let connector = Connector::new(ours.identity(WORKER), CONTROL_PLANE).unwrap();
    let reason = refusal_by_client(connector, &impostor.material(CONTROL_PLANE)).await;
    assert!(reason.contains("UnknownIssuer") || reason.contains("BadSignature"), "{reason}");
}

#[tokio::test]
async fn r3_a_name_of_another_trust_domain_is_refused_also_under_our_root() {
    let authority = Authority::of("eu-central-1");
    for foreign in ["spiffe://us-east-1.local/worker/one", "spiffe://eu-central-1.other/worker/one"] {
        let reason = refusal_of(&authority, Some(&authority.issue(&[foreign], 2000, 4000))).await;
        assert!(reason.contains("another trust domain"), "{reason}");
        let connector = Connector::new(authority.identity(WORKER), CONTROL_PLANE).unwrap();
        let server = authority.issue(&[&foreign.replace("worker", "control-plane")], 2000, 4000);
        let reason = refusal_by_client(connector, &server).await;
        assert!(reason.contains("another trust domain"), "{reason}");
    }
}

#[tokio::test]
async fn r3_a_role_that_is_not_admitted_is_refused() {
    let authority = Authority::of("eu-central-1");
    for role in [CONTROL_PLANE, ProcessRole::Operator, ProcessRole::Service] {
        let reason = refusal_of(&authority, Some(&authority.material(role))).await;
        assert!(reason.contains("is not admitted here, expected worker, router"), "{reason}");
    }
    // A worker that answers where a control plane is expected.
    let connector = Connector::new(authority.identity(WORKER), CONTROL_PLANE).unwrap();
    let reason = refusal_by_client(connector, &authority.material(WORKER)).await;
    assert!(reason.contains("expected control-plane"), "{reason}");
}

#[tokio::test]
async fn r3_expired_and_future_certificates_are_refused() {
    let authority = Authority::of("eu-central-1");
    let name = authority.name(WORKER);
    for ((from, to), word) in [((2000, 2001), "expired"), ((3000, 4000), "not valid yet")] {
        let reason = refusal_of(&authority, Some(&authority.issue(&[&name], from, to))).await;
        assert!(reason.contains(word), "{reason}");
        let connector = Connector::new(authority.identity(WORKER), CONTROL_PLANE).unwrap();
        let server = authority.issue(&[&authority.name(CONTROL_PLANE)], from, to);
        let reason = refusal_by_client(connector, &server).await;
        assert!(reason.contains(word), "{reason}");
    }
}

#[tokio::test]
async fn r3_any_other_number_of_uri_names_than_one_is_refused() {
    let authority = Authority::of("eu-central-1");
    let (worker, router) = (authority.name(WORKER), authority.name(ProcessRole::Router));
    for (names, found) in
        [(vec![], 0), (vec![worker.as_str(), &router], 2), (vec![&worker, "https://worker"], 2)]
    {
        let reason = refusal_of(&authority, Some(&authority.issue(&names, 2000, 4000))).await;
        assert!(reason.contains(&format!("exactly one URI name, found {found}")), "{reason}");
    }
    let reason = refusal_of(&authority, Some(&authority.issue(&["https://worker"], 2000, 4000))).await;
    assert!(reason.contains("not a SPIFFE id"), "{reason}");
}

#[tokio::test]
async fn r3_no_certificate_no_connection() {
    let reason = refusal_of(&Authority::of("eu-central-1"), None).await;
    assert!(reason.contains("peer sent no certificates"), "{reason}");
}

#[tokio::test]
async fn tls_before_1_3_is_not_spoken() {
    let authority = Authority::of("eu-central-1");
    let material = authority.material(WORKER);
    let (accepted, greeting) = meet(
        |stream| greet(acceptor(&authority), stream),
        |address| greeted(liar(Some(&material), &TLS12), address),
    )
    .await;
    assert!(accepted.is_err() && greeting.is_err());
}

#[tokio::test]
async fn sessions_are_not_resumed() {
    let authority = Authority::of("eu-central-1");
    let connector = liar(Some(&authority.material(WORKER)), &TLS13);
    let acceptor = acceptor(&authority);
    for _visit in 0..3 {
        let (accepted, dialled) = meet(
            |stream| greet(acceptor.clone(), stream),
            |address| {
                let connector = connector.clone();
                async move {
                    let stream = TcpStream::connect(address).await.unwrap();
                    let name = ServerName::IpAddress("127.0.0.1".try_into().unwrap());
                    let mut stream = connector.connect(name, stream).await.unwrap();
                    stream.read_u8().await.unwrap();
                    stream.get_ref().1.handshake_kind()
                }
            },
        )
        .await;
        accepted.unwrap();
        assert_eq!(dialled, Some(rustls::HandshakeKind::Full));
    }
}

async fn enroll(authority: &Authority, connector: PinnedConnector) -> io::Result<()> {
    let acceptor = EnrollmentAcceptor::new(authority.identity(CONTROL_PLANE)).unwrap();
    let (accepted, dialled) = meet(
        |stream| async move { acceptor.accept(stream).await.map(drop) },
        |address| async move { connector.connect(address).await.map(drop) },
    )
    .await;
    assert_eq!(accepted.is_ok(), dialled.is_ok());
    dialled
}

#[tokio::test]
async fn a_join_token_is_enough_to_know_the_control_plane() {
    let authority = Authority::of("eu-central-1");
    let fingerprint = authority.identity(CONTROL_PLANE).root_fingerprint();
    enroll(&authority, PinnedConnector::new(fingerprint, authority.trust_domain.clone()).unwrap())
        .await
        .unwrap();
}

#[tokio::test]
async fn r3_a_join_token_with_another_fingerprint_is_not_shown_to_the_server() {
    let authority = Authority::of("eu-central-1");
    let other = PinnedConnector::new(CaFingerprint([7; 32]), authority.trust_domain.clone()).unwrap();
    let reason = enroll(&authority, other).await.expect_err("refused").to_string();
    assert!(reason.contains("UnknownIssuer"), "{reason}");

    // The fingerprint of the leaf itself is no root either.
    let leaf = authority.identity(CONTROL_PLANE).fingerprint();
    let leaf = PinnedConnector::new(CaFingerprint(leaf), authority.trust_domain.clone()).unwrap();
    enroll(&authority, leaf).await.expect_err("refused");

    // The right root, in a region that is not the token's.
    let elsewhere = Authority::of("us-east-1").trust_domain;
    let fingerprint = authority.identity(CONTROL_PLANE).root_fingerprint();
    let reason =
        enroll(&authority, PinnedConnector::new(fingerprint, elsewhere).unwrap()).await.expect_err("refused");
    assert!(reason.to_string().contains("another trust domain"), "{reason}");
}

/// Verifies nothing.
#[derive(Debug)]
pub(super) struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
