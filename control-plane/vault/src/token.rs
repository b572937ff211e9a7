//! Bearer tokens: JSON Web Tokens, signed with Ed25519 and nothing else.
//!
//! A token's header is compared whole with the one that this module writes: no algorithm is chosen by it, and nothing that a header could otherwise bring along
//! (a key, an address of one, `crit`) is ever looked at. Times are not judged here: who knows what time it is does that.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use bailiwick_core::ports::{
    token::{Claims, TokenRefused, TokenSigner},
    vault::VaultError,
};
use bailiwick_domain::{
    guard::Guard,
    id::{OrganizationId, TokenKeyId},
    key::ServiceAccountId,
    time::Timestamp,
};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation,
    dangerous::insecure_decode,
    decode, decode_header, encode,
    errors::{Error, ErrorKind},
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const MICROS: i64 = 1_000_000;

/// Signs and verifies with Ed25519.
#[derive(Clone, Copy, Debug, Default)]
pub struct EdDsa;

/// The claims as they stand in a token (RFC 7519, section 4.1, and four of our own). All are required, and others are refused.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    iss: String,
    aud: String,
    /// The service account.
    sub: ServiceAccountId,
    /// Its organization.
    org: OrganizationId,
    /// Its role there.
    role: String,
    /// The version of its secret.
    ver: u32,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: String,
}

#[cfg(debug_assertions)]
impl EdDsa {
    /// A token of whatever `header.claims` says. In builds for development alone: there attacks have the region's own key sign what it never would, so that a
    /// token's signature is not what refuses it.
    ///
    /// # Errors
    /// The key is none.
    pub fn sign_anything(key: &[u8], message: &str) -> Result<SecretString, VaultError> {
        let key = EncodingKey::from_ed_der(key);
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::EdDSA);
        let signature = signature.map_err(|_| unusable())?;
        Ok(SecretString::from(format!("{message}.{signature}")))
    }
}

impl TokenSigner for EdDsa {
    fn new_key(&self) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| unusable())?;
        let document = pair.to_pkcs8().map_err(|_| unusable())?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    fn sign(&self, id: TokenKeyId, key: &[u8], claims: &Claims) -> Result<SecretString, VaultError> {
        let key = EncodingKey::from_ed_der(key);
        encode(&header(id), &Wire::from(claims), &key).map(SecretString::from).map_err(|_| unusable())
    }

    fn key_id(&self, token: &str) -> Result<TokenKeyId, TokenRefused> {
        let found = decode_header(token).map_err(|error| refused(&error))?;
        let id: TokenKeyId =
            found.kid.as_deref().and_then(|id| id.parse().ok()).ok_or(TokenRefused::Header)?;
        if found == header(id) || !Guard::TokenHeader.stands() { Ok(id) } else { Err(TokenRefused::Header) }
    }

    fn verify(&self, token: &str, key: &[u8], issuer: &str, audience: &str) -> Result<Claims, TokenRefused> {
        // Here too, whoever asked before.
        self.key_id(token)?;
        let pair = Ed25519KeyPair::from_pkcs8(key).map_err(|_| TokenRefused::UnknownKey)?;
        let public = DecodingKey::from_ed_der(pair.public_key().as_ref());
        let mut validation = Validation::new(Algorithm::EdDSA);
        if Guard::TokenIssuer.stands() {
            validation.set_issuer(&[issuer]);
        }
        validation.set_audience(&[audience]);
        validation.validate_aud = Guard::TokenAudience.stands();
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp", "nbf"]);
        // The library asks the machine's clock; ours is a parameter, and is asked by the caller.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let decoded = match Guard::TokenSignature.stands() {
            true => decode::<Wire>(token, &public, &validation),
            false => insecure_decode(token),
        };
        let decoded = decoded.map_err(|error| refused(&error))?;
        Claims::try_from(decoded.claims)
    }
}

/// The one header that a token has.
fn header(id: TokenKeyId) -> Header {
    Header { kid: Some(id.to_string()), ..Header::new(Algorithm::EdDSA) }
}

impl From<&Claims> for Wire {
    fn from(claims: &Claims) -> Self {
        let seconds = |at: Timestamp| at.as_micros().div_euclid(MICROS);
        Self {
            iss: claims.issuer.clone(),
            aud: claims.audience.clone(),
            sub: claims.account,
            org: claims.organization,
            role: claims.role.as_str().to_owned(),
            ver: claims.secret_version,
            iat: seconds(claims.issued_at),
            nbf: seconds(claims.not_before),
            exp: seconds(claims.expires_at),
            jti: claims.id.clone(),
        }
    }
}

impl TryFrom<Wire> for Claims {
    type Error = TokenRefused;

    fn try_from(wire: Wire) -> Result<Self, TokenRefused> {
        let time = |seconds: i64| {
            seconds.checked_mul(MICROS).map(Timestamp::from_micros).ok_or(TokenRefused::Claims)
        };
        Ok(Self {
            issuer: wire.iss,
            audience: wire.aud,
            account: wire.sub,
            organization: wire.org,
            role: wire.role.parse().map_err(|_| TokenRefused::Claims)?,
            secret_version: wire.ver,
            issued_at: time(wire.iat)?,
            not_before: time(wire.nbf)?,
            expires_at: time(wire.exp)?,
            id: wire.jti,
        })
    }
}

fn refused(error: &Error) -> TokenRefused {
    match error.kind() {
        ErrorKind::InvalidSignature => TokenRefused::Signature,
        ErrorKind::InvalidIssuer => TokenRefused::Issuer,
        ErrorKind::InvalidAudience => TokenRefused::Audience,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => TokenRefused::Header,
        ErrorKind::MissingRequiredClaim(_) => TokenRefused::Claims,
        _ => TokenRefused::Malformed,
    }
}

fn unusable() -> VaultError {
    VaultError::Certificate("the key that signs tokens is unusable".to_owned())
}

#[cfg(test)]
mod tests;
