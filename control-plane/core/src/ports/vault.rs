//! The key hierarchy: a master key wraps data keys, data keys seal fields.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bailiwick_domain::{
    id::OrganizationId, jurisdiction::Local, key::CaFingerprint, region::RegionCode, spiffe::SpiffeId,
    time::Timestamp,
};
use secrecy::SecretString;
use zeroize::Zeroizing;

/// Whose fields a data key seals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyScope {
    /// The region's own secrets: its authority's key, its pepper.
    Region,
    /// One organization's fields.
    Organization(Local<OrganizationId>),
    /// The region's backups. Such a key stands wrapped in the backup itself, and never in the store.
    Backup,
}

/// A data key as it is stored: encrypted under the master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedDataKey {
    /// Whose it is. Bound into the encryption: a row copied to another scope does not unwrap.
    pub scope: KeyScope,
    /// Counts from 1 within the scope.
    pub version: u32,
    /// Name of the master key that wrapped it.
    pub master: String,
    /// What the master key made of it.
    pub wrapped: Vec<u8>,
}

/// The place a sealed value belongs to. All of it is authenticated (AAD): a value moved to another region, organization,
/// table, column or row does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealContext<'a> {
    /// Table that holds the value.
    pub table: &'static str,
    /// Column that holds the value.
    pub column: &'static str,
    /// Text form of the row's identifier.
    pub row: &'a str,
}

/// A sealed value as it is stored. It names the version of the data key that opens it.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// Makes and unlocks data keys.
#[async_trait]
pub trait Vault: Send + Sync {
    /// The region that the master key serves.
    fn region_code(&self) -> RegionCode;

    /// Name of the master key that wraps now. No secret.
    fn master_key(&self) -> &str;

    /// Whether what the master key of this name wrapped can be unwrapped here.
    fn knows_master_key(&self, name: &str) -> bool;

    /// A new data key, wrapped; the caller stores it.
    async fn create_data_key(&self, scope: KeyScope, version: u32) -> Result<WrappedDataKey, VaultError>;

    /// Unwraps a data key. Implementations may keep a bounded number of unwrapped keys.
    async fn unlock(&self, key: &WrappedDataKey) -> Result<Arc<dyn DataKey>, VaultError>;

    /// The same data key, wrapped by the present master key. What it sealed stays as it is.
    async fn rewrap(&self, key: &WrappedDataKey) -> Result<WrappedDataKey, VaultError>;

    /// Drops what is kept of a scope, so that destroyed keys are gone from memory too.
    fn forget(&self, scope: KeyScope);
}

/// An unwrapped data key.
pub trait DataKey: Send + Sync {
    /// The version that values sealed by it carry.
    fn version(&self) -> u32;

    /// Encrypts and authenticates a value for one place.
    fn seal(&self, context: SealContext<'_>, plaintext: &[u8]) -> Result<Sealed, VaultError>;

    /// Opens a value sealed for exactly this place.
    fn open(&self, context: SealContext<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, VaultError>;
}

/// What can go wrong with keys. No variant carries key material or plaintext.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Wrong key, wrong place, or damaged bytes: not told apart, on purpose.
    #[error("a sealed value does not open here: it was changed, moved, or sealed under another key")]
    DoesNotOpen,
    /// The value needs a version of the data key that was not given.
    #[error("a value sealed under data key version {found} was given to version {expected}")]
    WrongVersion {
        /// Version that the value names.
        found: u32,
        /// Version of the key that was asked.
        expected: u32,
    },
    /// The master key cannot be had or is unusable.
    #[error("the master key is unusable: {0}")]
    MasterKey(String),
    /// A data key was wrapped by a master key that was not given.
    #[error(
        "a data key is wrapped by the master key {0}, which is neither the present one nor among master_key.previous"
    )]
    UnknownMasterKey(String),
    /// The key management service does not answer, or refuses for now. Trying again later can help.
    #[error("the key management service is unavailable ({0})")]
    Unavailable(String),
    /// The authority's key, certificate or a request for a certificate is unusable.
    #[error("certificate: {0}")]
    Certificate(String),
    /// The cryptographic library refused.
    #[error("cryptographic operation failed")]
    Crypto,
}

/// A root's certificate and its key, before it is stored or opened.
pub struct RootMaterial {
    /// Self-signed certificate, PEM.
    pub root_pem: String,
    /// Its private key, PKCS #8 PEM.
    pub key_pem: SecretString,
}

/// The region's own certificate authority: a self-signed root (two, while it changes from one to the other), and leaf certificates with one SPIFFE URI.
pub trait CertificateAuthority: Send + Sync {
    /// What the region's processes trust, PEM: the root that issues, then the other one.
    fn roots_pem(&self) -> String;

    /// SHA-256 of the DER of the root that issues.
    fn fingerprint(&self) -> CaFingerprint;

    /// End of the validity of the root that issues.
    fn expires_at(&self) -> Timestamp;

    /// The other root, while there is one.
    fn standby(&self) -> Option<Arc<dyn CertificateAuthority>>;

    /// A root that could take the place of this one.
    fn new_root(&self, now: Timestamp) -> Result<RootMaterial, VaultError>;

    /// Takes these roots in the place of those that it has: the one that issues, and the other one.
    fn adopt(&self, issuing: &RootMaterial, standby: Option<&RootMaterial>) -> Result<(), VaultError>;

    /// Signs the public key of a PKCS #10 request (its names are ignored) for `identity`, which must be of the authority's own trust domain. The
    /// certificate ends with its root at the latest.
    fn issue(
        &self,
        csr_pem: &str,
        identity: &SpiffeId,
        validity: Validity,
    ) -> Result<IssuedCertificate, VaultError>;
}

/// From when until when a certificate is valid. Certificates know whole seconds: both ends are cut to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub until: Timestamp,
}

/// Clocks differ: a certificate is valid from a little before it was made, but never so long before that half of its life were over by then.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

impl Validity {
    /// For `lifetime` from `now` on, and from up to 5 minutes (a tenth of the lifetime, where that is less) before.
    pub fn starting(now: Timestamp, lifetime: Duration) -> Self {
        let skew = CLOCK_SKEW.min(lifetime / 10);
        Self { from: now.saturating_sub(skew), until: now.saturating_add(lifetime) }
    }

    /// The same, beginning after `revoked`: who joins again after a revocation is not taken for who was shut out.
    #[must_use]
    pub fn after(self, revoked: Timestamp) -> Self {
        Self { from: self.from.max(revoked.saturating_add(Duration::from_secs(1))), ..self }
    }
}

/// A signed leaf certificate.
#[derive(Clone, Debug)]
pub struct IssuedCertificate {
    /// PEM.
    pub certificate_pem: String,
    /// The root that it was issued under.
    pub root: CaFingerprint,
    /// End of its validity.
    pub expires_at: Timestamp,
}
