//! A client of Entra: what Azure's own identities have instead of an API key.

use std::{borrow::Cow, fmt};

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::provider::Endpoint;

/// The public cloud's authority (<https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud>).
const AUTHORITY: &str = "https://login.microsoftonline.com";
/// What the public cloud's Azure OpenAI wants tokens for.
const SCOPE: &str = "https://cognitiveservices.azure.com/.default";
/// Bytes of a tenant's name, and of a client's.
const LONGEST_NAME: usize = 253;
const LONGEST: usize = 1024;

/// A client of Entra with its secret: `{"tenant_id", "client_id", "client_secret"}`; with `"authority"` (a base URL) and `"scope"` for another cloud than the public one.
#[derive(Clone)]
pub struct EntraClient {
    issuer: Endpoint,
    client_id: String,
    secret: SecretString,
    scope: String,
}

/// The same as it is written. Borrowed where nothing is escaped: there are no copies to forget.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw<'a> {
    #[serde(borrow)]
    tenant_id: Cow<'a, str>,
    #[serde(borrow)]
    client_id: Cow<'a, str>,
    #[serde(borrow)]
    client_secret: Cow<'a, str>,
    #[serde(borrow)]
    authority: Option<Cow<'a, str>>,
    #[serde(borrow)]
    scope: Option<Cow<'a, str>>,
}

impl EntraClient {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let raw: Raw<'_> = serde_json::from_str(text).ok()?;
        let secret = Zeroizing::new(raw.client_secret.into_owned());
        let (authority, scope) = (raw.authority.as_deref(), raw.scope.as_deref().unwrap_or(SCOPE));
        let all_good = is_name(&raw.tenant_id)
            && is_name(&raw.client_id)
            && is_printable(&secret)
            && is_printable(scope);
        if !all_good {
            return None;
        }
        let authority: Endpoint = authority.unwrap_or(AUTHORITY).parse().ok()?;
        let issuer = format!("{authority}/{}/oauth2/v2.0/token", raw.tenant_id).parse().ok()?;
        Some(Self {
            issuer,
            client_id: raw.client_id.into_owned(),
            secret: secret.as_str().into(),
            scope: scope.to_owned(),
        })
    }

    /// Whom tokens are asked of.
    pub fn issuer(&self) -> &Endpoint {
        &self.issuer
    }

    /// Names the client.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The client's secret.
    pub fn secret(&self) -> &str {
        self.secret.expose_secret()
    }

    /// What tokens are wanted for.
    pub fn scope(&self) -> &str {
        &self.scope
    }
}

/// A directory is named by a GUID or by one of its domains, a client by a GUID. Neither leads elsewhere in a path.
fn is_name(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    (1..=LONGEST_NAME).contains(&text.len())
        && text.bytes().all(good)
        && text.bytes().any(|byte| byte.is_ascii_alphanumeric())
}

fn is_printable(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl fmt::Debug for EntraClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EntraClient([redacted])")
    }
}
