//! R3: every listener of a region that runs, against every certificate that somebody can have who has not got the authority's key. What an authority that went wrong could issue
//! besides is tried on the same acceptors in `crates/runtime` (`identity/tests/matrix.rs`), as is what callers take from servers.
//!
//! | listener | admits |
//! |---|---|
//! | control plane, `admin` | operator, service |
//! | control plane, `workers` | worker, router |
//! | control plane, `enrollment` | nobody's certificate; worker, router (also one that ended lately) |
//! | worker, `serve` | router, operator |
//! | router, `serve` | everybody: it asks for no certificate, and looks at none |
//! | `ops` of all of them | everybody, in plain HTTP: metrics, health and readiness alone |

use std::{
    fs, io,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bailiwick_domain::spiffe::ProcessRole::{self, ControlPlane, Operator, Router, Service, Worker};
use bailiwick_tests::{
    eventually,
    installation::{Installation, REGIONS, Region},
    process::{Owned, runs, terminate},
};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::{
        ResolvesClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    sign::{CertifiedKey, SigningKey},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

const REGION: &str = "eu-central-1";
const FOREIGN: &str = "us-east-1";
const PATIENCE: Duration = Duration::from_secs(10);

/// A listener that asks for certificates.
struct Door {
    what: &'static str,
    address: String,
    /// It speaks HTTP/2, so it speaks first (RFC 9113, section 3.4).
    grpc: bool,
    admits: &'static [ProcessRole],
    admits_nobodys: bool,
}

fn doors(region: &Region) -> Vec<Door> {
    let door = |what, address: &str, grpc, admits, admits_nobodys| {
        let address = address.to_owned();
        Door { what, address, grpc, admits, admits_nobodys }
    };
    let mut doors = vec![
        door("the admin API", &region.admin_addr, true, &[Operator, Service][..], false),
        door("the API for processes", &region.processes_addr, true, &[Worker, Router], false),
        door("enrollment", &region.enrollment_addr, true, &[Worker, Router], true),
    ];
    let workers = region.processes.workers.iter();
    doors.extend(workers.map(|worker| door("a worker", &worker.address, false, &[Router, Operator], false)));
    doors
}

/// What somebody presents.
#[derive(Clone, Debug)]
struct Badge {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
    /// How often a server asked for it.
    asked: Arc<AtomicUsize>,
}

impl Badge {
    fn new(chain_pem: &str, key_pem: &str) -> Self {
        let chain =
            CertificateDer::pem_slice_iter(chain_pem.as_bytes()).map(|der| der.expect("a certificate"));
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).expect("a key");
        let key = default_provider().key_provider.load_private_key(key).expect("a key");
        Self { chain: chain.collect(), key, asked: Arc::default() }
    }

    /// One of the region's own, from its own authority.
    fn issued(installation: &Installation, name: &str, role: ProcessRole) -> (Self, KeyPair) {
        let region = installation.region(name);
        let folder = installation.folder().join(format!("{name}-{role}"));
        let command = &region.processes.control_plane.command;
        let issued = Command::new(&command[0])
            .args(["issue-certificate", "--name", "somebody", "--role", role.as_str(), "--out"])
            .arg(&folder)
            .args(["--config", command.last().expect("a configuration")])
            .output()
            .expect("it runs");
        assert!(issued.status.success(), "{}", String::from_utf8_lossy(&issued.stderr));
        let read = |file: &str| fs::read_to_string(folder.join(file)).expect("issued");
        let key = read("key.pem");
        (Self::new(&read("cert.pem"), &key), KeyPair::from_pem(&key).expect("a key"))
    }
}

impl ResolvesClientCert for Badge {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        // Whether certificate and key belong together is for the other end to find out.
        Some(Arc::new(CertifiedKey::new(self.chain.clone(), Arc::clone(&self.key))))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn name_of(role: ProcessRole) -> String {
    format!("spiffe://{REGION}.local/{role}/somebody")
}

fn leaf(role: ProcessRole) -> CertificateParams {
    let mut leaf = CertificateParams::default();
    leaf.distinguished_name = DistinguishedName::new();
    leaf.subject_alt_names = vec![SanType::URI(name_of(role).try_into().expect("a name"))];
    leaf
}

/// Certificates with a good name of this role that the region's authority has not issued.
fn forged(role: ProcessRole, genuine: &(Badge, KeyPair), foreign: &Badge) -> Vec<(&'static str, Badge)> {
    let (own, own_key) = genuine;
    let key = KeyPair::generate().expect("a key");
    let badge = |chain: &str| Badge::new(chain, &key.serialize_pem());
    let own_pem = |badge: Badge, more: &Badge| Badge {
        chain: badge.chain.into_iter().chain(more.chain.clone()).collect(),
        ..badge
    };
    let self_signed = leaf(role).self_signed(&key).expect("signed").pem();
    // Somebody's key of the region signs for somebody else.
    let sibling = Issuer::new(leaf(role), own_key);
    let by_sibling = leaf(role).signed_by(&key, &sibling).expect("signed").pem();
    let (root, root_pem) = lookalike();
    let by_lookalike = leaf(role).signed_by(&key, &root).expect("signed").pem();
    vec![
        ("self-signed", badge(&self_signed)),
        ("self-signed, with a good one behind it", own_pem(badge(&self_signed), own)),
        ("signed by a certificate of the region", own_pem(badge(&by_sibling), own)),
        ("of an authority of the same name", badge(&by_lookalike)),
        ("of an authority of the same name that is sent along", badge(&(by_lookalike + &root_pem))),
        ("a good one without its key", Badge { key: badge(&self_signed).key, ..own.clone() }),
        ("another region's with a good one behind it", own_pem(foreign.clone(), own)),
    ]
}

/// All that can be copied of a region's root: everything but its key.
fn lookalike() -> (Issuer<'static, KeyPair>, String) {
    let key = KeyPair::generate().expect("a key");
    let mut root = CertificateParams::default();
    root.distinguished_name = DistinguishedName::new();
    root.distinguished_name.push(DnType::CommonName, format!("Bailiwick root of {REGION}.local"));
    root.subject_alt_names =
        vec![SanType::URI(format!("spiffe://{REGION}.local").try_into().expect("a name"))];
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let pem = root.self_signed(&key).expect("signed").pem();
    (Issuer::new(root, key), pem)
}

/// What came of it: admitted, or the alert that refused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Admitted,
    Refused(AlertDescription),
}

async fn knock(door: &Door, badge: Option<&Badge>) -> Answer {
    match shake_hands(&door.address, door.grpc, badge).await {
        Ok(_) => Answer::Admitted,
        Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(alert)) => Answer::Refused(*alert),
            _ => panic!("{} gave no answer: {error}", door.what),
        },
    }
}

/// Gives the first bytes that the server says of its own protocol.
async fn shake_hands(address: &str, grpc: bool, badge: Option<&Badge>) -> io::Result<String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible));
    let mut config = match badge {
        Some(badge) => builder.with_client_cert_resolver(Arc::new(badge.clone())),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![if grpc { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    let connected = async {
        let tcp = TcpStream::connect(address).await.expect("it listens");
        let name = ServerName::try_from("localhost").expect("a name");
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
        if !grpc {
            stream.write_all(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
        }
        let mut bytes = [0; 512];
        match stream.read(&mut bytes).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => Ok(String::from_utf8_lossy(&bytes[..read]).into_owned()),
        }
    };
    tokio::time::timeout(PATIENCE, connected).await.expect("an answer in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn r3_every_listener_admits_its_own_roles_of_its_own_region_and_nobody_else() {
    let installation = Installation::start();
    let issued = |name, role| Badge::issued(&installation, name, role);
    let own: Vec<_> = ProcessRole::ALL.into_iter().map(|role| (role, issued(REGION, role))).collect();
    let foreign: Vec<_> = ProcessRole::ALL.into_iter().map(|role| (role, issued(FOREIGN, role).0)).collect();
    for door in doors(installation.region(REGION)) {
        let what = door.what;
        let expected = if door.admits_nobodys {
            Answer::Admitted
        } else {
            Answer::Refused(AlertDescription::CertificateRequired)
        };
        assert_eq!(knock(&door, None).await, expected, "nobody's certificate at {what}");
        for ((role, genuine), (_, foreign)) in own.iter().zip(&foreign) {
            let admitted = knock(&door, Some(&genuine.0)).await == Answer::Admitted;
            assert_eq!(admitted, door.admits.contains(role), "a {role} at {what}");
            assert_ne!(knock(&door, Some(foreign)).await, Answer::Admitted, "a foreign {role} at {what}");
            for (how, badge) in forged(*role, genuine, foreign) {
                let answer = knock(&door, Some(&badge)).await;
                assert_ne!(answer, Answer::Admitted, "a {role}'s, {how}, at {what}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_looks_at_no_certificate_and_operations_speak_no_tls() {
    let installation = Installation::start();
    let region = installation.region(REGION);
    let router = &region.processes.router;
    let configuration = Path::new(router.command.last().expect("a configuration"));
    let public = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) =
        (installation.folder().join("public.pem"), installation.folder().join("public.key"));
    fs::write(&certificate, public.cert.pem()).expect("written");
    fs::write(&key, public.signing_key.serialize_pem()).expect("written");
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("closed");
    let mut table: toml::Table = fs::read_to_string(configuration).expect("read").parse().expect("TOML");
    let serve = table["serve"].as_table_mut().expect("a section");
    let files = toml::Table::from_iter([
        ("certificate".to_owned(), certificate.display().to_string().into()),
        ("key".to_owned(), key.display().to_string().into()),
    ]);
    serve.insert("tls".to_owned(), toml::Value::Array(vec![files.into()]));
    serve.remove("allow_plain");
    fs::write(configuration, toml::to_string(&table).expect("TOML")).expect("written");
    terminate(router.pid);
    eventually("the router has ended", || async { (!runs(router.pid)).then_some(()) }).await;
    let _again = Owned::start(&router.command, &router.log.with_extension("again.log"));
    eventually("the router is ready again", || async {
        let answer = reqwest::get(router.readyz()).await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;

    // With the certificate of whomever, and without one: the key is what counts, and there is none.
    let operator = Badge::issued(&installation, REGION, Operator).0;
    let control_plane = Badge::issued(&installation, FOREIGN, ControlPlane).0;
    for badge in [None, Some(&operator), Some(&control_plane)] {
        let said = shake_hands(&router.address, false, badge).await.expect("a handshake");
        assert!(said.starts_with("HTTP/1.1 401"), "{said}");
        assert_eq!(badge.map_or(0, |badge| badge.asked.load(Ordering::Relaxed)), 0, "it was asked for");
    }
    // Operations are for the inside of a region: plain, and they tell nothing that somebody could use.
    for name in REGIONS {
        let region = installation.region(name);
        for process in region.processes.all() {
            let address = process.metrics.trim_start_matches("http://").trim_end_matches("/metrics");
            shake_hands(address, false, Some(&operator)).await.expect_err("no TLS");
            let metrics =
                reqwest::get(&process.metrics).await.expect("metrics").text().await.expect("metrics");
            for secret in [region.api_key.as_str(), &region.organization, "PRIVATE KEY", "bwjoin_"] {
                assert!(!metrics.contains(secret), "{} of {name} tells {secret}", process.name);
            }
        }
    }
}

/// Takes any server for the right one: it is the server that has to refuse.
#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _behind_it: &[CertificateDer<'_>],
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
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
