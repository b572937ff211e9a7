//! A key of a Google service account, which signs what tokens are given for.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeyPair,
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{provider::Endpoint, time::Timestamp};

/// What the file says that it is.
pub(super) const KIND: &str = "service_account";
/// Google's own, where the file names no other.
const ISSUER: &str = "https://oauth2.googleapis.com/token";
/// What Vertex wants tokens for.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// The longest that Google takes (<https://developers.google.com/identity/protocols/oauth2/service-account>).
const LIFETIME: Duration = Duration::from_secs(3600);
const LONGEST_NAME: usize = 320;
const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// A service account's key, from the file that Google gives: JSON with `"type": "service_account"`. Of the key there is one copy, in the library's hands, which clears it.
#[derive(Clone)]
pub struct GoogleKey {
    issuer: Endpoint,
    email: String,
    key_id: String,
    key: Arc<KeyPair>,
}

/// What of the file matters. Google adds fields to it from time to time.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    client_email: Cow<'a, str>,
    #[serde(borrow)]
    private_key_id: Cow<'a, str>,
    /// Its ends of lines are escaped, so it cannot be borrowed.
    private_key: String,
    #[serde(borrow)]
    token_uri: Option<Cow<'a, str>>,
}

/// The key does not sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the service account's key does not sign")]
pub struct SigningFailed;

impl GoogleKey {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let raw: Raw<'_> = serde_json::from_str(text).ok()?;
        let pem = Zeroizing::new(raw.private_key);
        let is_name = |text: &str| {
            (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !is_name(&raw.client_email) || !is_name(&raw.private_key_id) {
            return None;
        }
        Some(Self {
            issuer: raw.token_uri.as_deref().unwrap_or(ISSUER).parse().ok()?,
            email: raw.client_email.into_owned(),
            key_id: raw.private_key_id.into_owned(),
            key: Arc::new(KeyPair::from_pkcs8(&der(&pem)?).ok()?),
        })
    }

    /// Whom tokens are asked of.
    pub fn issuer(&self) -> &Endpoint {
        &self.issuer
    }

    /// What a token is given for (RFC 7523, section 3): who asks, for what, whom, and from when on, signed (RS256). Good for an hour.
    ///
    /// # Errors
    /// It cannot be signed.
    pub fn assertion(&self, now: Timestamp) -> Result<Zeroizing<String>, SigningFailed> {
        let issued = now.as_millis() / 1000;
        let header = serde_json::json!({"alg": "RS256", "typ": "JWT", "kid": self.key_id});
        let claims = serde_json::json!({
            "iss": self.email,
            "scope": SCOPE,
            "aud": self.issuer.as_str(),
            "iat": issued,
            "exp": issued + LIFETIME.as_secs(),
        });
        let mut text = Zeroizing::new(String::with_capacity(2048));
        URL_SAFE_NO_PAD.encode_string(header.to_string(), &mut text);
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut text);
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|_| SigningFailed)?;
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(&signature, &mut text);
        Ok(text)
    }

    /// The half that everybody may know, as PKCS #1 has it.
    pub fn public_key(&self) -> &[u8] {
        self.key.public_key().as_ref()
    }
}

/// What stands between the lines of a PEM text (RFC 7468): PKCS #8.
fn der(pem: &str) -> Option<Zeroizing<Vec<u8>>> {
    let inner = pem.trim_ascii().strip_prefix(BEGIN)?.strip_suffix(END)?;
    let mut text = Zeroizing::new(Vec::with_capacity(inner.len()));
    text.extend(inner.bytes().filter(|byte| !byte.is_ascii_whitespace()));
    let mut der = Zeroizing::new(vec![0; text.len()]);
    let length = STANDARD.decode_slice(&*text, &mut der).ok()?;
    der.truncate(length);
    Some(der)
}

impl fmt::Debug for GoogleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GoogleKey([redacted])")
    }
}
