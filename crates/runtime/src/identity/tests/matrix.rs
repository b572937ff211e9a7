//! Every door of a region against every certificate, from both sides, and what comes of it.
//!
//! A door is what a listener asks of its callers, or a caller of its server. A certificate is one of the region's own with one thing about it that the region's authority
//! would not do; or somebody else's. What an authority that is sound never issues is refused all the same: the region does not depend on it alone.

use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bailiwick_domain::spiffe::ProcessRole;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, SanType, SignatureAlgorithm, date_time_ymd,
};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig, SignatureScheme};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::super::*;
use super::authority::Authority;
use super::handshakes::{Gullible, greet, greeted, meet, parts};
use crate::identity::tls::provider;
use ProcessRole::{ControlPlane, Operator, Router, Service, Worker};

/// What comes of a certificate at a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Admitted,
    /// With these words in the reason.
    Refused(&'static str),
}
use Outcome::{Admitted, Refused};

/// Makes what somebody of a role presents.
type Make = fn(&World, ProcessRole) -> Presented;

/// One kind of certificate, and what comes of it when a caller and when a server presents it.
struct Case {
    what: &'static str,
    made: Make,
    caller: Outcome,
    server: Outcome,
}

fn case(what: &'static str, made: Make, outcome: Outcome) -> Case {
    Case { what, made, caller: outcome, server: outcome }
}

const NO_SPIFFE_ID: Outcome = Refused("not a SPIFFE id");

fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("as it is issued", |world, role| world.changed(role, |_| ()), Admitted),
        // Names.
        case(
            "no name at all",
            |world, role| world.named(role, |_| vec![]),
            Refused("exactly one URI name, found 0"),
        ),
        case("a host's name alone", |world, role| world.named(role, |_| vec![dns()]), Refused("found 0")),
        // What SPIFFE allows beside the one URI is not looked at: a process is known by its URI alone.
        case(
            "its name and a host's",
            |world, role| world.named(role, |name| vec![uri(&name), dns()]),
            Admitted,
        ),
        case(
            "its name twice",
            |world, role| world.named(role, |name| vec![uri(&name), uri(&name)]),
            Refused("found 2"),
        ),
        case(
            "its name and another region's",
            |world, role| {
                world.named(role, |name| vec![uri(&name), uri(&name.replace("eu-central-1", "us-east-1"))])
            },
            Refused("found 2"),
        ),
        case(
            "a foreign name under our root",
            |world, role| world.named(role, |name| vec![uri(&name.replace("eu-central-1", "us-east-1"))]),
            Refused("another trust domain"),
        ),
        case(
            "another installation's name",
            |world, role| world.named(role, |name| vec![uri(&name.replace(".local/", ".other/"))]),
            Refused("another trust domain"),
        ),
        // Chains.
        case(
            "another region's",
            |world, role| Presented::of(&world.theirs.material(role)),
            Refused("another trust domain"),
        ),
        case(
            "another authority's with our names",
            |world, role| Presented::of(&world.impostor.material(role)),
            Refused("BadSignature"),
        ),
        case(
            "another region's, with ours behind it",
            |world, role| {
                let mut foreign = Presented::of(&world.theirs.material(role));
                foreign.chain.extend(Presented::of(&world.ours.material(role)).chain);
                foreign
            },
            Refused("another trust domain"),
        ),
        case("self-signed", |_, role| Presented::of(&self_signed(role)), Refused("UnknownIssuer")),
        case(
            "signed by another leaf of the region",
            |world, role| Presented::of(&world.ours.forge_below(role, |_| ())),
            Refused("UnknownIssuer"),
        ),
        // The root admits no authority below it (RFC 5280, section 4.2.1.9), which the library does not ask.
        case(
            "signed by an authority below ours",
            |world, role| {
                Presented::of(&world.ours.forge_below(role, |params| {
                    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                }))
            },
            Refused("UnknownIssuer"),
        ),
        case(
            "an authority's own",
            |world, role| {
                world.changed(role, |params| {
                    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
                })
            },
            Refused("CaUsedAsEndEntity"),
        ),
        case(
            "others behind it that nothing needs",
            |world, role| {
                let mut long = Presented::of(&world.ours.material(role));
                long.chain.extend(Presented::of(&world.theirs.material(role)).chain);
                long
            },
            Admitted,
        ),
        // Keys.
        case(
            "somebody else's key",
            |world, role| {
                let mut stolen = Presented::of(&world.ours.material(role));
                stolen.key = Presented::of(&world.ours.material(role)).key;
                stolen
            },
            Refused("BadSignature"),
        ),
        case("an Ed25519 key", |world, role| world.keyed(role, &PKCS_ED25519), Refused("SigScheme")),
        case("a P-384 key", |world, role| world.keyed(role, &PKCS_ECDSA_P384_SHA384), Refused("SigScheme")),
        case("an RSA key", |world, role| world.keyed(role, &PKCS_RSA_SHA256), Refused("SigScheme")),
        // Times.
        case(
            "not valid yet",
            |world, role| {
                world.changed(role, |params| {
                    params.not_before = date_time_ymd(3000, 1, 1);
                })
            },
            Refused("not valid yet"),
        ),
        case(
            "no certificate but something else",
            |world, role| {
                let mut broken = Presented::of(&world.ours.material(role));
                broken.chain = vec![CertificateDer::from(b"not DER".to_vec())];
                broken
            },
            Refused("certificate"),
        ),
        case(
            "a certificate with bytes behind it",
            |world, role| {
                let mut broken = Presented::of(&world.ours.material(role));
                let longer =
                    broken.chain.iter().map(|leaf| [leaf.as_ref(), &[0]].concat()).map(CertificateDer::from);
                broken.chain = longer.collect();
                broken
            },
            Refused("certificate"),
        ),
        Case {
            what: "for servers alone",
            made: |world, role| world.used_as(role, ExtendedKeyUsagePurpose::ServerAuth),
            caller: Refused("extended key"),
            server: Admitted,
        },
        Case {
            what: "for clients alone",
            made: |world, role| world.used_as(role, ExtendedKeyUsagePurpose::ClientAuth),
            caller: Admitted,
            server: Refused("extended key"),
        },
        case(
            "for something else",
            |world, role| world.used_as(role, ExtendedKeyUsagePurpose::CodeSigning),
            Refused("extended key"),
        ),
    ];
    cases.extend(names().map(|(what, made)| case(what, made, NO_SPIFFE_ID)));
    cases
}

/// Ways to write a name that somebody might take for this region's.
fn names() -> impl Iterator<Item = (&'static str, Make)> {
    let all: [(&str, Make); 19] = [
        ("an unknown role", |world, _| world.spelt("spiffe://eu-central-1.local/admin/one")),
        ("no role", |world, _| world.spelt("spiffe://eu-central-1.local/one")),
        ("no path", |world, _| world.spelt("spiffe://eu-central-1.local")),
        ("capitals in the scheme", |world, role| {
            world.respelt(role, |name| name.replace("spiffe", "SPIFFE"))
        }),
        ("capitals in the trust domain", |world, role| {
            world.respelt(role, |name| name.replace("eu-", "EU-"))
        }),
        ("capitals in the path", |world, role| world.respelt(role, |name| name.replace("/one", "/One"))),
        ("a percent-encoded role", |world, role| {
            world.respelt(role, |name| {
                let (domain, path) = name.split_once(".local/").unwrap();
                format!("{domain}.local/{}", path.replace('r', "%72"))
            })
        }),
        ("a percent-encoded name", |world, role| world.respelt(role, |name| name.replace("/one", "/%6fne"))),
        ("a slash at the end", |world, role| world.respelt(role, |name| name + "/")),
        ("an empty segment", |world, role| world.respelt(role, |name| name.replace("/one", "//one"))),
        ("an empty segment first", |world, role| {
            world.respelt(role, |name| name.replace("local/", "local//"))
        }),
        ("a longer path", |world, role| world.respelt(role, |name| name + "/two")),
        ("a way up in the path", |world, role| {
            world.respelt(role, |name| name.replace("local/", "local/x/../"))
        }),
        ("a port", |world, role| world.respelt(role, |name| name.replace(".local/", ".local:443/"))),
        ("a user", |world, role| world.respelt(role, |name| name.replace("://", "://root@"))),
        ("a query", |world, role| world.respelt(role, |name| name + "?role=operator")),
        ("a fragment", |world, role| world.respelt(role, |name| name + "#operator")),
        ("a NUL and more", |world, role| world.respelt(role, |name| name + "\0.evil")),
        ("ten kilobytes", |world, role| world.respelt(role, |name| name + &"e".repeat(10_000))),
    ];
    all.into_iter()
}

/// What a listener asks of its callers: who listens, and whom it admits. The same lists as in production, where each binary has its own.
const LISTENERS: [(&str, ProcessRole, &[ProcessRole]); 3] = [
    ("the admin API", ControlPlane, &[Operator, Service]),
    ("the API for processes", ControlPlane, &[Worker, Router]),
    ("a worker", Worker, &[Router, Operator]),
];
/// Who dials whom.
const DIALS: [(ProcessRole, ProcessRole); 5] = [
    (Worker, ControlPlane),
    (Router, ControlPlane),
    (Router, Worker),
    (Operator, ControlPlane),
    (Operator, Worker),
];

#[tokio::test]
async fn r3_every_listener_judges_every_certificate_as_documented() {
    let world = &*WORLD;
    for (door, own, roles) in LISTENERS {
        let acceptor = Acceptor::new(world.ours.identity(own), roles).unwrap();
        let mut admitted = 0;
        for case in cases() {
            for role in roles {
                let presented = (case.made)(world, *role);
                let found = knock(&acceptor, Some(presented)).await;
                assert_outcome(&found, case.caller, &format!("{} of a {role} at {door}", case.what));
                admitted += usize::from(found.is_ok());
            }
        }
        assert_eq!(
            admitted,
            4 * roles.len(),
            "as it is, with a host's name, with more behind it, for clients"
        );
        let found = knock(&acceptor, None).await;
        assert_outcome(&found, Refused("peer sent no certificates"), door);
    }
}

#[tokio::test]
async fn r3_every_listener_admits_its_own_roles_of_its_own_region_and_nobody_else() {
    let world = &*WORLD;
    for (door, own, roles) in LISTENERS {
        let acceptor = Acceptor::new(world.ours.identity(own), roles).unwrap();
        for role in ProcessRole::ALL {
            let expected = if roles.contains(&role) { Admitted } else { Refused("is not admitted here") };
            let found = knock(&acceptor, Some(Presented::of(&world.ours.material(role)))).await;
            assert_outcome(&found, expected, &format!("a {role} at {door}"));
            let found = knock(&acceptor, Some(Presented::of(&world.theirs.material(role)))).await;
            assert_outcome(&found, Refused("another trust domain"), &format!("a foreign {role} at {door}"));
            let expired = world.ours.expired(role, Duration::from_secs(1));
            let found = knock(&acceptor, Some(Presented::of(&expired))).await;
            assert_outcome(&found, Refused("expired"), &format!("a {role} of yesterday at {door}"));
        }
    }
}

/// Nobody needs a certificate there. Whoever presents one has to be a worker or a router of the region, and may be late.
#[tokio::test]
async fn r3_enrollment_takes_a_certificate_for_what_it_is_or_not_at_all() {
    let world = &*WORLD;
    let acceptor = EnrollmentAcceptor::new(world.ours.identity(ControlPlane)).unwrap();
    let arrive = async |presented: Option<Presented>| {
        let accept = acceptor.clone();
        let (accepted, _) = meet(
            |stream| async move { accept.accept(stream).await.map(|(_stream, newcomer)| newcomer.returning) },
            |address| greeted(caller(presented), address),
        )
        .await;
        accepted.map(|returning| returning.map(|returning| returning.spiffe.to_string()))
    };
    assert_eq!(arrive(None).await.expect("a newcomer"), None);
    for case in cases() {
        for role in [Worker, Router] {
            let found = arrive(Some((case.made)(world, role))).await;
            let told = format!("{} of a {role} at enrollment", case.what);
            match (found, case.caller) {
                (Ok(returning), Admitted) => assert_eq!(returning, Some(world.ours.name(role)), "{told}"),
                (found, Admitted) => panic!("{told}: {found:?}"),
                // It reads the name first, to know for how long it may be late; so the reason may be another one.
                (found, Refused(_)) => assert!(found.is_err(), "{told}"),
            }
        }
    }
    for role in [Operator, Service, ControlPlane] {
        let found = arrive(Some(Presented::of(&world.ours.material(role)))).await;
        assert!(found.expect_err("refused").to_string().contains("is not admitted here"));
    }
    let late = Presented::of(&world.ours.expired(Worker, Duration::from_secs(60)));
    assert_eq!(arrive(Some(late)).await.expect("late"), Some(world.ours.name(Worker)));
}

#[tokio::test]
async fn r3_every_caller_judges_every_servers_certificate_as_documented() {
    let world = &*WORLD;
    for (own, expected) in DIALS {
        let connector = Connector::new(world.ours.identity(own), expected).unwrap();
        for case in cases() {
            let found = answered(&connector, (case.made)(world, expected)).await;
            assert_outcome(&found, case.server, &format!("{}, dialled by a {own}", case.what));
        }
        let late = world.ours.expired(expected, Duration::from_secs(1));
        let found = answered(&connector, Presented::of(&late)).await;
        assert_outcome(&found, Refused("expired"), "yesterday's");
        for role in ProcessRole::ALL.into_iter().filter(|role| *role != expected) {
            let found = answered(&connector, Presented::of(&world.ours.material(role))).await;
            assert_outcome(&found, Refused("is not admitted here"), &format!("{role} for {expected}"));
            let found = answered(&connector, Presented::of(&world.theirs.material(role))).await;
            assert_outcome(&found, Refused("another trust domain"), &format!("a foreign {role}"));
        }
    }
}

/// Who enrolls knows a root's fingerprint and nothing else.
#[tokio::test]
async fn r3_a_newcomer_judges_its_control_planes_certificate_as_documented() {
    let world = &*WORLD;
    let fingerprint = world.ours.identity(ControlPlane).root_fingerprint();
    let pinned = PinnedConnector::new(fingerprint, world.ours.trust_domain.clone()).unwrap();
    let root = Presented::chain(&world.ours.root_pem);
    for case in cases() {
        let mut presented = (case.made)(world, ControlPlane);
        presented.chain.extend(root.clone());
        let found = answered(&pinned, presented).await;
        // With our root in its chain, a self-signed one is still not issued under it.
        assert_outcome(&found, case.server, &format!("{}, dialled by a newcomer", case.what));
        let without = answered(&pinned, (case.made)(world, ControlPlane)).await;
        assert!(without.is_err(), "{} without its root", case.what);
    }
    for role in [Worker, Router, Operator, Service] {
        let mut presented = Presented::of(&world.ours.material(role));
        presented.chain.extend(root.clone());
        let found = answered(&pinned, presented).await;
        assert_outcome(&found, Refused("is not admitted here"), &format!("a {role} for a control plane"));
    }
}

fn assert_outcome<T>(found: &io::Result<T>, expected: Outcome, told: &str) {
    match (found, expected) {
        (Ok(_), Admitted) => {}
        (Err(reason), Refused(words)) => {
            assert!(reason.to_string().contains(words), "{told}: refused, but for {reason}");
        }
        (Ok(_), Refused(words)) => panic!("{told}: admitted, expected {words:?}"),
        (Err(reason), Admitted) => panic!("{told}: refused, {reason}"),
    }
}

/// A caller at a listener: who it was taken for. Whoever is refused has not got a byte.
async fn knock(acceptor: &Acceptor, presented: Option<Presented>) -> io::Result<Peer> {
    let (accepted, greeting) =
        meet(|stream| greet(acceptor.clone(), stream), |address| greeted(caller(presented), address)).await;
    assert_eq!(accepted.is_ok(), greeting.is_ok());
    accepted
}

/// A server at a caller.
async fn answered(dial: &impl Dial, presented: Presented) -> io::Result<()> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(presented));
    let (_, dialled) = meet(
        |stream| async move { TlsAcceptor::from(Arc::new(config)).accept(stream).await.map(drop) },
        |address| async move { dial.connect(address).await.map(drop) },
    )
    .await;
    dialled
}

/// A client that trusts everybody and presents what it likes.
fn caller(presented: Option<Presented>) -> TlsConnector {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible));
    TlsConnector::from(Arc::new(match presented {
        Some(presented) => builder.with_client_cert_resolver(Arc::new(presented)),
        None => builder.with_no_client_auth(),
    }))
}

/// What somebody presents, whether the other end asked for that kind or not.
#[derive(Debug)]
struct Presented {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
}

impl Presented {
    fn of(material: &Material) -> Self {
        let (chain, key) = parts(material);
        let key = provider().key_provider.load_private_key(key).unwrap();
        Self { chain, key: Arc::new(Stubborn(key)) }
    }

    fn chain(pem: &str) -> Vec<CertificateDer<'static>> {
        material::certificates("a chain", pem).unwrap()
    }

    fn certified(&self) -> Arc<CertifiedKey> {
        Arc::new(CertifiedKey::new(self.chain.clone(), Arc::clone(&self.key)))
    }
}

impl ResolvesClientCert for Presented {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.certified())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.certified())
    }
}

/// Signs as it can, not as it was asked to.
#[derive(Debug)]
struct Stubborn(Arc<dyn SigningKey>);

impl SigningKey for Stubborn {
    fn choose_scheme(&self, _offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        self.0.choose_scheme(&[
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ED25519,
            SignatureScheme::RSA_PSS_SHA256,
        ])
    }

    fn algorithm(&self) -> rustls::SignatureAlgorithm {
        self.0.algorithm()
    }
}

/// The region whose doors these are, another one, and one that pretends to be it.
struct World {
    ours: Authority,
    theirs: Authority,
    impostor: Authority,
    /// Made once: they take their time.
    rsa: KeyPair,
}

static WORLD: LazyLock<World> = LazyLock::new(|| World {
    ours: Authority::of("eu-central-1"),
    theirs: Authority::of("us-east-1"),
    impostor: Authority::of("eu-central-1"),
    rsa: KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap(),
});

impl World {
    fn changed(&self, role: ProcessRole, change: impl FnOnce(&mut CertificateParams)) -> Presented {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        Presented::of(&self.ours.forge(role, &key, change))
    }

    fn named(&self, role: ProcessRole, names: fn(String) -> Vec<SanType>) -> Presented {
        let name = self.ours.name(role);
        self.changed(role, |params| params.subject_alt_names = names(name))
    }

    fn respelt(&self, role: ProcessRole, spell: fn(String) -> String) -> Presented {
        let (good, spelt) = (self.ours.name(role), spell(self.ours.name(role)));
        assert_ne!(spelt, good);
        self.changed(role, |params| params.subject_alt_names = vec![uri(&spelt)])
    }

    fn spelt(&self, name: &str) -> Presented {
        self.changed(Worker, |params| params.subject_alt_names = vec![uri(name)])
    }

    fn keyed(&self, role: ProcessRole, kind: &'static SignatureAlgorithm) -> Presented {
        if kind == &PKCS_RSA_SHA256 {
            return Presented::of(&self.ours.forge(role, &self.rsa, |_| ()));
        }
        Presented::of(&self.ours.forge(role, &KeyPair::generate_for(kind).unwrap(), |_| ()))
    }

    fn used_as(&self, role: ProcessRole, purpose: ExtendedKeyUsagePurpose) -> Presented {
        self.changed(role, |params| params.extended_key_usages = vec![purpose])
    }
}

fn self_signed(role: ProcessRole) -> Material {
    let key = KeyPair::generate().unwrap();
    let authority = Authority::of("eu-central-1");
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![uri(&authority.name(role))];
    let certificate = params.self_signed(&key).unwrap();
    Material {
        root_pem: authority.root_pem,
        certificate_pem: certificate.pem(),
        key_pem: key.serialize_pem().into(),
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn dns() -> SanType {
    SanType::DnsName("worker.eu-central-1.local".try_into().unwrap())
}
