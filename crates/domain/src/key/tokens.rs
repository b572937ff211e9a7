//! Keys that are exchanged for something else: a join token for a certificate, a service account's secret for a bearer token.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use super::{
    CaFingerprint, FINGERPRINT_LEN, ID_LEN, JOIN_TOKEN, JoinTokenId, KeyDigest, KeyFormatError, Pepper,
    SECRET_LEN, SERVICE_SECRET, ServiceAccountId, assemble, split,
};
use crate::{base62, jurisdiction::Regional, region::RegionCode};

/// With which a process enrolls, once: `bwjoin_euc1_<id>_<secret><root's fingerprint, 43 base62><CRC-32>`. The fingerprint lets the newcomer
/// recognise its control plane before it has a trust store.
pub struct JoinToken {
    id: JoinTokenId,
    fingerprint: CaFingerprint,
    text: SecretString,
}

impl JoinToken {
    /// A new token, from the operating system's generator.
    pub fn generate(region: RegionCode, fingerprint: CaFingerprint) -> Self {
        Self::with_id(JoinTokenId { region, id: base62::random() }, fingerprint)
    }

    /// A token with this identifier and a new secret; a forgery where the identifier is known already.
    pub fn with_id(id: JoinTokenId, fingerprint: CaFingerprint) -> Self {
        Self { id, fingerprint, text: assemble(JOIN_TOKEN, id.region, id.id, Some(fingerprint)) }
    }

    /// Checks shape and checksum. Errors never repeat the token.
    pub fn parse(text: &str) -> Result<Self, KeyFormatError> {
        let parts = split(JOIN_TOKEN, SECRET_LEN + FINGERPRINT_LEN, text)?;
        let digits = parts.tail.get(SECRET_LEN..).unwrap_or_default();
        let fingerprint = base62::to_bytes(digits).ok_or(KeyFormatError::Fingerprint)?;
        Ok(Self {
            id: JoinTokenId { region: parts.region, id: parts.id },
            fingerprint: CaFingerprint(fingerprint),
            text: SecretString::from(text),
        })
    }

    /// Its identifier.
    pub fn id(&self) -> JoinTokenId {
        self.id
    }

    /// The fingerprint of the only root to trust.
    pub fn ca_fingerprint(&self) -> CaFingerprint {
        self.fingerprint
    }

    /// What is stored of it.
    pub fn digest(&self, pepper: &Pepper) -> KeyDigest {
        pepper.digest_bytes(self.expose().as_bytes())
    }

    /// The token itself.
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }
}

impl Regional for JoinToken {
    fn region_code(&self) -> RegionCode {
        self.id.region
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({}, [redacted])", self.id)
    }
}

/// What a service account exchanges for a bearer token: `bwsvc_euc1_<account's id>_<secret><CRC-32>`. It zeroes itself on drop and never prints.
pub struct ServiceSecret {
    account: ServiceAccountId,
    text: SecretString,
}

impl ServiceSecret {
    /// The first secret of a new account, from the operating system's generator.
    pub fn generate(region: RegionCode) -> Self {
        Self::another(ServiceAccountId { region, id: base62::random::<ID_LEN>() })
    }

    /// A new secret of an account.
    pub fn another(account: ServiceAccountId) -> Self {
        let text = assemble(SERVICE_SECRET, account.region, account.id, None);
        Self { account, text }
    }

    /// Checks shape and checksum. Errors never repeat the secret.
    pub fn parse(text: &str) -> Result<Self, KeyFormatError> {
        let parts = split(SERVICE_SECRET, SECRET_LEN, text)?;
        let account = ServiceAccountId { region: parts.region, id: parts.id };
        Ok(Self { account, text: SecretString::from(text) })
    }

    /// Whose it is, or says that it is.
    pub fn account(&self) -> ServiceAccountId {
        self.account
    }

    /// The secret itself: shown once, to the one who made it.
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// What is stored of it.
    pub fn digest(&self, pepper: &Pepper) -> KeyDigest {
        pepper.digest_bytes(self.expose().as_bytes())
    }

    /// Whether it is the one that was stored. Constant time.
    pub fn is(&self, digest: &KeyDigest, pepper: &Pepper) -> bool {
        pepper.verify_bytes(self.expose().as_bytes(), digest)
    }
}

impl Regional for ServiceSecret {
    fn region_code(&self) -> RegionCode {
        self.account.region
    }
}

impl fmt::Debug for ServiceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceSecret({}, [redacted])", self.account)
    }
}
