use bailiwick_domain::spiffe::ProcessRole;
use rcgen::PublicKeyData;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn domain(text: &str) -> TrustDomain {
    text.parse().expect("good")
}

fn now() -> Timestamp {
    Timestamp::from_micros(1_790_000_000_000_000)
}

fn authority(text: &str) -> RegionAuthority {
    let root = RegionAuthority::create(&domain(text), now()).expect("made");
    RegionAuthority::open(&domain(text), &root, None).expect("opened")
}

/// A request that asks for everything that it must not get.
fn greedy_request(key: &KeyPair) -> String {
    let mut params = CertificateParams::new(vec!["evil.example".to_owned()]).expect("params");
    params.subject_alt_names.push(uri("spiffe://eu-central-1.local/operator/root").expect("uri"));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.serialize_request(key).expect("request").pem().expect("pem")
}

#[test]
fn only_the_public_key_of_a_request_is_taken() {
    let authority = authority("eu-central-1.local");
    let key = KeyPair::generate().expect("key");
    let identity =
        SpiffeId::new(domain("eu-central-1.local"), ProcessRole::Worker, "worker-1").expect("good");
    let issued =
        authority.issue(&greedy_request(&key), &identity, Validity::starting(now(), DAY)).expect("issued");
    let der = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).expect("pem");
    let (_, leaf) = parse_x509_certificate(&der).expect("certificate");
    let names = leaf.subject_alternative_name().expect("readable").expect("there");
    let expected = identity.to_string();
    assert_eq!(names.value.general_names, [GeneralName::URI(&expected)]);
    assert!(!leaf.is_ca());
    assert_eq!(leaf.public_key().subject_public_key.data.as_ref(), key.der_bytes());
    assert_eq!(
        leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp(),
        24 * 3600 + 300
    );
    assert_eq!(issued.expires_at, now().saturating_add(DAY));
}

#[test]
fn r3_an_identity_of_another_region_is_never_signed() {
    let authority = authority("eu-central-1.local");
    let request = greedy_request(&KeyPair::generate().expect("key"));
    for foreign in ["us-west-1.local", "eu-central-1.other"] {
        let identity = SpiffeId::new(domain(foreign), ProcessRole::Worker, "worker-1").expect("good");
        assert!(authority.issue(&request, &identity, Validity::starting(now(), DAY)).is_err(), "{foreign}");
    }
}

#[test]
fn a_request_that_its_sender_did_not_sign_is_refused() {
    let authority = authority("eu-central-1.local");
    let identity =
        SpiffeId::new(domain("eu-central-1.local"), ProcessRole::Worker, "worker-1").expect("good");
    let mut der = pem_bytes(&greedy_request(&KeyPair::generate().expect("key")));
    if let Some(last) = der.last_mut() {
        *last ^= 1;
    }
    let request = CertificateSigningRequestParams::from_der(&der.into());
    assert!(request.is_err());
    for text in [
        "",
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        &"x".repeat(9000),
    ] {
        assert!(authority.issue(text, &identity, Validity::starting(now(), DAY)).is_err());
    }
}

fn pem_bytes(text: &str) -> Vec<u8> {
    rustls_pki_types::CertificateSigningRequestDer::from_pem_slice(text.as_bytes()).expect("pem").to_vec()
}

#[test]
fn r3_a_root_does_not_open_for_another_trust_domain_or_with_another_key() {
    let root = RegionAuthority::create(&domain("eu-central-1.local"), now()).expect("made");
    let other = RegionAuthority::create(&domain("eu-central-1.local"), now()).expect("made");
    assert!(RegionAuthority::open(&domain("us-west-1.local"), &root, None).is_err());
    assert!(RegionAuthority::open(&domain("eu-central-1.local"), &root, Some(&other)).is_ok());
    let foreign = RegionAuthority::create(&domain("us-west-1.local"), now()).expect("made");
    assert!(RegionAuthority::open(&domain("eu-central-1.local"), &root, Some(&foreign)).is_err());
    let mixed = RootMaterial { key_pem: other.key_pem, ..root };
    assert!(RegionAuthority::open(&domain("eu-central-1.local"), &mixed, None).is_err());
}

#[test]
fn no_certificate_outlives_its_root() {
    let authority = authority("eu-central-1.local");
    let identity =
        SpiffeId::new(domain("eu-central-1.local"), ProcessRole::Worker, "worker-1").expect("good");
    let request = greedy_request(&KeyPair::generate().expect("key"));
    let last_hour = authority.expires_at().saturating_sub(Duration::from_secs(3600));
    let issued = authority.issue(&request, &identity, Validity::starting(last_hour, DAY)).expect("issued");
    assert_eq!(issued.expires_at, authority.expires_at());
    let late = authority.expires_at().saturating_add(DAY);
    assert!(authority.issue(&request, &identity, Validity::starting(late, DAY)).is_err());
}

#[test]
fn a_second_root_stands_by_and_takes_over() {
    let authority = authority("eu-central-1.local");
    let first = authority.fingerprint();
    assert!(authority.standby().is_none());
    let (old, new) = (authority.new_root(now()).expect("made"), authority.new_root(now()).expect("made"));
    authority.adopt(&old, Some(&new)).expect("of this trust domain");
    let standby = authority.standby().expect("there");
    assert!(authority.fingerprint() != first && standby.fingerprint() != authority.fingerprint());
    assert_eq!(authority.roots_pem(), format!("{}{}", old.root_pem, new.root_pem));

    let foreign = RegionAuthority::create(&domain("us-west-1.local"), now()).expect("made");
    for (issuing, standby) in [(&foreign, None), (&new, Some(&foreign))] {
        authority.adopt(issuing, standby).expect_err("foreign");
        assert_eq!(
            authority.roots_pem(),
            format!("{}{}", old.root_pem, new.root_pem),
            "the present ones stay"
        );
    }
    authority.adopt(&new, None).expect("of this trust domain");
    assert_eq!(authority.fingerprint(), standby.fingerprint());
}

#[test]
fn r3_another_kind_of_key_than_the_regions_is_not_certified() {
    let authority = authority("eu-central-1.local");
    let identity =
        SpiffeId::new(domain("eu-central-1.local"), ProcessRole::Worker, "worker-1").expect("good");
    for kind in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_RSA_SHA256] {
        let request = greedy_request(&KeyPair::generate_for(kind).expect("key"));
        let refused = authority.issue(&request, &identity, Validity::starting(now(), DAY));
        assert!(refused.expect_err("refused").to_string().contains("ECDSA on P-256"));
    }
}
