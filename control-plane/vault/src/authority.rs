//! The region's own certificate authority: a self-signed root, leaf certificates with exactly one SPIFFE URI; and a second root, while the
//! region changes from one to the other.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use aws_lc_rs::digest;
use bailiwick_core::ports::vault::{
    CertificateAuthority, IssuedCertificate, RootMaterial, Validity, VaultError,
};
use bailiwick_domain::{
    key::CaFingerprint,
    spiffe::{SpiffeId, TrustDomain},
    time::Timestamp,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
    SerialNumber, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use secrecy::{ExposeSecret, SecretString};

const ROOT_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
const LARGEST_CSR_BYTES: usize = 8 << 10;

/// Signs certificates of one trust domain. All who share it see a change of its roots.
#[derive(Debug)]
pub struct RegionAuthority {
    trust_domain: TrustDomain,
    roots: RwLock<Roots>,
}

#[derive(Clone, Debug)]
struct Roots {
    issuing: Arc<Root>,
    standby: Option<Arc<Root>>,
}

/// One root, opened.
struct Root {
    trust_domain: TrustDomain,
    root_pem: String,
    fingerprint: CaFingerprint,
    expires_at: Timestamp,
    issuer: Issuer<'static, KeyPair>,
}

impl RegionAuthority {
    /// Makes a root (ECDSA P-256, valid for 10 years) for a trust domain: its certificate, and its key to be sealed and stored.
    pub fn create(trust_domain: &TrustDomain, now: Timestamp) -> Result<RootMaterial, VaultError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(unusable)?;
        let mut params = params(Validity::starting(now, ROOT_LIFETIME))?;
        params.distinguished_name.push(DnType::CommonName, format!("Bailiwick root of {trust_domain}"));
        params.subject_alt_names = vec![uri(&format!("spiffe://{trust_domain}"))?];
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = params.self_signed(&key).map_err(unusable)?;
        Ok(RootMaterial { root_pem: root.pem(), key_pem: SecretString::from(key.serialize_pem()) })
    }

    /// Opens roots that were stored. Errors: certificate and key do not belong together, or to the trust domain.
    pub fn open(
        trust_domain: &TrustDomain,
        issuing: &RootMaterial,
        standby: Option<&RootMaterial>,
    ) -> Result<Self, VaultError> {
        let roots = Roots::open(trust_domain, issuing, standby)?;
        Ok(Self { trust_domain: trust_domain.clone(), roots: RwLock::new(roots) })
    }

    fn roots(&self) -> Roots {
        self.roots.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Roots {
    fn open(
        trust_domain: &TrustDomain,
        issuing: &RootMaterial,
        standby: Option<&RootMaterial>,
    ) -> Result<Self, VaultError> {
        let open =
            |root: &RootMaterial| Ok(Arc::new(Root::open(trust_domain, &root.root_pem, &root.key_pem)?));
        Ok(Self { issuing: open(issuing)?, standby: standby.map(open).transpose()? })
    }
}

impl Root {
    fn open(
        trust_domain: &TrustDomain,
        certificate_pem: &str,
        key_pem: &SecretString,
    ) -> Result<Self, VaultError> {
        let der = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(unusable)?;
        let key = KeyPair::from_pkcs8_pem_and_sign_algo(key_pem.expose_secret(), &PKCS_ECDSA_P256_SHA256)
            .map_err(|_| VaultError::Certificate("the authority's key is unreadable".to_owned()))?;
        let expires_at = check_root(&der, &key, trust_domain)?;
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(unusable)?;
        let mut fingerprint = [0; 32];
        let hash = digest::digest(&digest::SHA256, &der);
        fingerprint.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
        Ok(Self {
            trust_domain: trust_domain.clone(),
            root_pem: certificate_pem.to_owned(),
            fingerprint: CaFingerprint(fingerprint),
            expires_at,
            issuer,
        })
    }
}

impl CertificateAuthority for RegionAuthority {
    fn roots_pem(&self) -> String {
        let roots = self.roots();
        let standby = roots.standby.map_or_else(String::new, |root| root.root_pem.clone());
        roots.issuing.root_pem.clone() + &standby
    }

    fn fingerprint(&self) -> CaFingerprint {
        self.roots().issuing.fingerprint
    }

    fn expires_at(&self) -> Timestamp {
        self.roots().issuing.expires_at
    }

    fn standby(&self) -> Option<Arc<dyn CertificateAuthority>> {
        let Roots { issuing, standby } = self.roots();
        let roots = RwLock::new(Roots { issuing: standby?, standby: Some(issuing) });
        Some(Arc::new(Self { trust_domain: self.trust_domain.clone(), roots }))
    }

    fn new_root(&self, now: Timestamp) -> Result<RootMaterial, VaultError> {
        Self::create(&self.trust_domain, now)
    }

    fn adopt(&self, issuing: &RootMaterial, standby: Option<&RootMaterial>) -> Result<(), VaultError> {
        let roots = Roots::open(&self.trust_domain, issuing, standby)?;
        *self.roots.write().unwrap_or_else(PoisonError::into_inner) = roots;
        Ok(())
    }

    fn issue(
        &self,
        csr_pem: &str,
        identity: &SpiffeId,
        validity: Validity,
    ) -> Result<IssuedCertificate, VaultError> {
        self.roots().issuing.issue(csr_pem, identity, validity)
    }
}

impl Root {
    fn issue(
        &self,
        csr_pem: &str,
        identity: &SpiffeId,
        validity: Validity,
    ) -> Result<IssuedCertificate, VaultError> {
        if identity.trust_domain != self.trust_domain {
            let problem = format!("{identity} is not of the trust domain {}", self.trust_domain);
            return Err(VaultError::Certificate(problem));
        }
        if validity.from >= self.expires_at {
            return Err(VaultError::Certificate("the authority's own certificate has ended".to_owned()));
        }
        // A leaf that outlives its root would be refused by everyone from the root's end on.
        let validity = Validity { until: validity.until.min(self.expires_at), ..validity };
        if csr_pem.len() > LARGEST_CSR_BYTES {
            return Err(VaultError::Certificate(format!("the request is over {LARGEST_CSR_BYTES} bytes")));
        }
        // Parsing verifies the request's own signature: the caller holds the private key.
        let mut request = CertificateSigningRequestParams::from_pem(csr_pem).map_err(unusable)?;
        // Nobody of the region would verify a signature by another kind of key.
        if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(VaultError::Certificate("the request's key is not one of ECDSA on P-256".to_owned()));
        }
        let mut leaf = params(validity)?;
        leaf.subject_alt_names = vec![uri(&identity.to_string())?];
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        // Nothing that the request asked for survives: only its public key is taken.
        request.params = leaf;
        let certificate = request.signed_by(&self.issuer).map_err(unusable)?;
        let root = self.fingerprint;
        Ok(IssuedCertificate { certificate_pem: certificate.pem(), root, expires_at: validity.until })
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({}, {})", self.trust_domain, self.fingerprint)
    }
}

fn params(validity: Validity) -> Result<CertificateParams, VaultError> {
    let mut params = CertificateParams::default();
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + seconds(validity.from);
    params.not_after = epoch + seconds(validity.until);
    params.distinguished_name = DistinguishedName::new();
    let mut serial = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| VaultError::Crypto)?;
    // RFC 5280, section 4.1.2.2: positive.
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn seconds(at: Timestamp) -> Duration {
    Duration::from_secs(at.as_millis() / 1000)
}

fn uri(text: &str) -> Result<SanType, VaultError> {
    Ok(SanType::URI(text.try_into().map_err(unusable)?))
}

fn check_root(
    der: &CertificateDer<'_>,
    key: &KeyPair,
    trust_domain: &TrustDomain,
) -> Result<Timestamp, VaultError> {
    let wrong = |problem: &str| VaultError::Certificate(problem.to_owned());
    let (_, root) = x509_parser::parse_x509_certificate(der).map_err(unusable)?;
    if root.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
        return Err(wrong("the authority's key is not that of its certificate"));
    }
    let names = root.subject_alternative_name().map_err(unusable)?;
    let expected = format!("spiffe://{trust_domain}");
    let named = names.is_some_and(|names| {
        names
            .value
            .general_names
            .iter()
            .any(|n| matches!(n, x509_parser::extensions::GeneralName::URI(u) if *u == expected))
    });
    if !named {
        return Err(VaultError::Certificate(format!("the authority's certificate is not of {trust_domain}")));
    }
    Ok(Timestamp::from_micros(root.validity().not_after.timestamp().saturating_mul(1_000_000)))
}

fn unusable(error: impl fmt::Display) -> VaultError {
    VaultError::Certificate(error.to_string())
}

#[cfg(test)]
mod tests;
