//! Bearer tokens as bytes: what signs and verifies them.

use bailiwick_domain::{
    id::{OrganizationId, TokenKeyId},
    key::ServiceAccountId,
    organization::OrganizationRole,
    time::Timestamp,
};
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::vault::VaultError;

/// Makes, signs and reads tokens: JSON Web Tokens (RFC 7519), signed with Ed25519 (RFC 8037) and nothing else. Knows no time and no account: those are the use
/// case's to judge.
pub trait TokenSigner: Send + Sync {
    /// A new private key, PKCS #8 DER.
    fn new_key(&self) -> Result<Zeroizing<Vec<u8>>, VaultError>;

    /// A token of these claims.
    fn sign(&self, id: TokenKeyId, key: &[u8], claims: &Claims) -> Result<SecretString, VaultError>;

    /// Which key a token says that it is signed with. Nothing of it is verified yet.
    ///
    /// # Errors
    /// It is no token, or its header is not exactly one of ours: another algorithm, or anything beside the key's identifier.
    fn key_id(&self, token: &str) -> Result<TokenKeyId, TokenRefused>;

    /// The claims of a token that this key signed, for this audience, by this issuer.
    ///
    /// # Errors
    /// The signature is another one; a claim is missing, unknown or malformed; issuer or audience are others.
    fn verify(&self, token: &str, key: &[u8], issuer: &str, audience: &str) -> Result<Claims, TokenRefused>;
}

/// What a token says. Times are whole seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The region's control plane.
    pub issuer: String,
    /// The region's admin API.
    pub audience: String,
    /// Whose it is.
    pub account: ServiceAccountId,
    /// Where the account acts.
    pub organization: OrganizationId,
    /// What it is there.
    pub role: OrganizationRole,
    /// Version of the secret that it was obtained with: it ends with that.
    pub secret_version: u32,
    /// When it was made.
    pub issued_at: Timestamp,
    /// From when on it is good.
    pub not_before: Timestamp,
    /// From when on it is not good any more.
    pub expires_at: Timestamp,
    /// No two tokens have the same.
    pub id: String,
}

/// What is wrong with a token. For the log: callers hear the same of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// Not three parts, or too long, or no JSON in them.
    #[error("it is no token of ours by its form")]
    Malformed,
    /// Another algorithm, no key identifier, or header fields that ours have not.
    #[error("its header is not one of ours")]
    Header,
    /// The key did not sign it.
    #[error("its signature does not hold")]
    Signature,
    /// Another issuer.
    #[error("its issuer is another one")]
    Issuer,
    /// Another audience.
    #[error("its audience is another one")]
    Audience,
    /// A claim is missing, unknown or malformed.
    #[error("its claims are not ours")]
    Claims,
    /// Signed with a key that the region has not, or not any more.
    #[error("its key is unknown")]
    UnknownKey,
    /// Its time has passed.
    #[error("it has expired")]
    Expired,
    /// Its time has not come.
    #[error("it is not valid yet")]
    NotYet,
    /// It would live longer than any token of ours.
    #[error("it lives too long")]
    TooLong,
    /// Its account is not there, was revoked, or is not what the token says any more.
    #[error("its account is revoked or changed")]
    Account,
}
