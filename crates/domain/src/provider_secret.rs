//! What a provider is shown to know who calls: the forms that the text of a credential may have.
//!
//! Some are shown, some sign, and some are shown to whoever issues tokens, which are what the provider is shown (`entra`, `google`).

mod entra;
mod google;

use std::{borrow::Cow, fmt};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, de::IgnoredAny};

pub use self::{
    entra::EntraClient,
    google::{GoogleKey, SigningFailed},
};
use crate::provider::Endpoint;

/// Bytes of a credential's text.
pub const LONGEST_SECRET: usize = 4096;
/// Bytes of the name of an AWS key, and of the key itself.
const LONGEST_AWS_KEY: usize = 256;

/// A provider's secret.
#[derive(Clone, Debug)]
pub enum ProviderSecret {
    /// Shown as it is, in a header: an API key, or a bearer token.
    Shown(SecretString),
    /// Shown to nobody: calls are signed with it (AWS Signature Version 4).
    Aws(AwsKey),
    /// Shown to Entra, whose tokens are shown to Azure.
    Entra(EntraClient),
    /// Shown to nobody: it signs what Google gives tokens for, which are shown to Vertex.
    Google(GoogleKey),
}

impl ProviderSecret {
    /// Reads a credential's text: JSON when it begins with a brace, as no API key does; else what is shown. Which form JSON has, its fields tell.
    ///
    /// # Errors
    /// It has none of the forms. The text is not repeated.
    pub fn parse(text: &str) -> Result<Self, ProviderSecretError> {
        if text.is_empty() || text.len() > LONGEST_SECRET {
            return Err(ProviderSecretError::Shown);
        }
        if text.trim_ascii_start().starts_with('{') {
            return Self::parse_json(text);
        }
        // It fits into a header as it is.
        let good = text.bytes().all(|byte| byte.is_ascii_graphic());
        good.then(|| Self::Shown(text.into())).ok_or(ProviderSecretError::Shown)
    }

    fn parse_json(text: &str) -> Result<Self, ProviderSecretError> {
        let fields: Fields<'_> = serde_json::from_str(text).map_err(|_| ProviderSecretError::Form)?;
        if fields.kind.as_deref() == Some(google::KIND) {
            return GoogleKey::parse(text).map(Self::Google).ok_or(ProviderSecretError::Google);
        }
        if fields.tenant_id.is_some() {
            return EntraClient::parse(text).map(Self::Entra).ok_or(ProviderSecretError::Entra);
        }
        if fields.access_key_id.is_some() {
            return AwsKey::parse(text).map(Self::Aws).ok_or(ProviderSecretError::Aws);
        }
        Err(ProviderSecretError::Form)
    }

    /// Whom tokens are asked of, where the provider is shown such. The region's egress policy has to admit it.
    pub fn issuer(&self) -> Option<&Endpoint> {
        match self {
            Self::Shown(_) | Self::Aws(_) => None,
            Self::Entra(client) => Some(client.issuer()),
            Self::Google(key) => Some(key.issuer()),
        }
    }
}

/// What tells the forms of JSON apart.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    tenant_id: Option<IgnoredAny>,
    access_key_id: Option<IgnoredAny>,
}

/// An AWS access key: `{"access_key_id": "AKIA…", "secret_access_key": "…"}`, with `"session_token"` where it is a temporary one, and `"region"` where the endpoint's
/// name does not say which region signs.
#[derive(Clone)]
pub struct AwsKey {
    id: String,
    secret: SecretString,
    session_token: Option<SecretString>,
    region: Option<String>,
}

/// The same as it is written. Borrowed where nothing is escaped: there are no copies to forget.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAwsKey<'a> {
    #[serde(borrow)]
    access_key_id: Cow<'a, str>,
    #[serde(borrow)]
    secret_access_key: Cow<'a, str>,
    #[serde(borrow)]
    session_token: Option<Cow<'a, str>>,
    #[serde(borrow)]
    region: Option<Cow<'a, str>>,
}

impl AwsKey {
    fn parse(text: &str) -> Option<Self> {
        let RawAwsKey { access_key_id, secret_access_key, session_token, region } =
            serde_json::from_str(text).ok()?;
        let good = |text: &str, most| {
            (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let all_good = good(&access_key_id, LONGEST_AWS_KEY)
            && access_key_id.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && good(&secret_access_key, LONGEST_AWS_KEY)
            && session_token.as_deref().is_none_or(|token| good(token, LONGEST_SECRET))
            && region.as_deref().is_none_or(is_aws_region);
        all_good.then(|| Self {
            id: access_key_id.into_owned(),
            secret: secret_access_key.into_owned().into(),
            session_token: session_token.map(|token| token.into_owned().into()),
            region: region.map(Cow::into_owned),
        })
    }

    /// Names the key.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key.
    pub fn secret(&self) -> &str {
        self.secret.expose_secret()
    }

    /// Of a temporary key.
    pub fn session_token(&self) -> Option<&str> {
        self.session_token.as_ref().map(|token| token.expose_secret())
    }

    /// The region that signs, where the endpoint does not say.
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }
}

impl fmt::Debug for AwsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwsKey([redacted])")
    }
}

/// The AWS region in the name of a host of Bedrock's: behind the label of the service, as in `bedrock-runtime.eu-central-1.amazonaws.com` and in private endpoints
/// (`vpce-….bedrock-runtime.eu-central-1.vpce.amazonaws.com`).
pub fn aws_region_of(host: &str) -> Option<&str> {
    let mut labels = host.split('.').skip_while(|label| !label.starts_with("bedrock-runtime"));
    labels.nth(1).filter(|label| is_aws_region(label))
}

/// `eu-central-1`, `us-gov-west-1`.
fn is_aws_region(text: &str) -> bool {
    let mut parts = text.rsplit('-');
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    text.len() <= 32
        && parts.next().is_some_and(is_number)
        && parts.clone().count() >= 2
        && parts.all(is_word)
}

/// Why a text is no provider's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderSecretError {
    /// Nothing that a header could carry.
    #[error("is 1 to {LONGEST_SECRET} printable ASCII characters without spaces; or, for AWS, JSON")]
    Shown,
    /// JSON of something else.
    #[error(
        "is JSON, and neither an AWS access key (\"access_key_id\"), nor a client of Entra (\"tenant_id\"), nor a key file of a Google service account (\"type\": \"service_account\")"
    )]
    Form,
    /// No client of Entra.
    #[error(
        "is JSON, and not a client of Entra: {{\"tenant_id\", \"client_id\", \"client_secret\"}}, with \"authority\" and \"scope\" for another cloud than the public one"
    )]
    Entra,
    /// No key file of Google's.
    #[error(
        "is JSON, and not the key file of a Google service account as it is downloaded: {{\"type\": \"service_account\", \"client_email\", \"private_key_id\", \"private_key\", \"token_uri\"}}, with an RSA key of 2048 to 8192 bits"
    )]
    Google,
    /// No key of AWS.
    #[error(
        "is JSON, and not an AWS access key: {{\"access_key_id\", \"secret_access_key\"}}, with \"session_token\" and \"region\" where there is need"
    )]
    Aws,
}

#[cfg(test)]
mod tests;
