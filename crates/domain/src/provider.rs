//! Providers and their endpoints.

use std::{fmt, str::FromStr};

use url::{Host, Url};

use crate::text::serde_as_text;

/// Whose dialect an endpoint speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// OpenAI itself.
    OpenAi,
    /// Anything that speaks OpenAI's dialect.
    OpenAiCompatible,
    /// OpenAI's models in Azure.
    AzureOpenAi,
    /// Anthropic.
    Anthropic,
    /// Gemini in AI Studio.
    Gemini,
    /// Gemini in Vertex AI.
    Vertex,
    /// Bedrock, called with a Bedrock API key, or with an AWS key, which signs.
    Bedrock,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::OpenAi,
        Self::OpenAiCompatible,
        Self::AzureOpenAi,
        Self::Anthropic,
        Self::Gemini,
        Self::Vertex,
        Self::Bedrock,
    ];

    /// The word that stands for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::OpenAiCompatible => "openai_compatible",
            Self::AzureOpenAi => "azure_openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Vertex => "vertex",
            Self::Bedrock => "bedrock",
        }
    }

    /// Its names in the catalogue of list prices. Azure has none: its deployments are named by whoever makes them, so a name does not say what is behind it.
    pub fn listed_as(self) -> &'static [&'static str] {
        match self {
            Self::AzureOpenAi => &[],
            Self::Vertex => &["vertex_ai-language-models"],
            Self::Bedrock => &["bedrock_converse", "bedrock"],
            Self::OpenAi => &["openai"],
            Self::OpenAiCompatible => &["openai_compatible"],
            Self::Anthropic => &["anthropic"],
            Self::Gemini => &["gemini"],
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Provider {
    type Err = ProviderError;

    fn from_str(text: &str) -> Result<Self, ProviderError> {
        Self::ALL.into_iter().find(|provider| provider.as_str() == text).ok_or(ProviderError)
    }
}

/// An unknown provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the provider is one of openai, openai_compatible, azure_openai, anthropic, gemini, vertex, bedrock")]
pub struct ProviderError;

/// A version of Azure OpenAI's API (<https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle>): a date, `2024-10-21` or `2025-04-01-preview`; or `v1`,
/// which has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiVersion(Box<str>);

impl ApiVersion {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ApiVersion {
    type Err = ApiVersionError;

    fn from_str(text: &str) -> Result<Self, ApiVersionError> {
        let date = text.strip_suffix("-preview").unwrap_or(text);
        let is_date = date.len() == "2024-10-21".len()
            && date.bytes().enumerate().all(|(at, byte)| match at {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        (is_date || text == "v1").then(|| Self(text.into())).ok_or(ApiVersionError)
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// No version of an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is a date, such as 2024-10-21 or 2025-04-01-preview, or v1")]
pub struct ApiVersionError;

/// Base URL of a provider, such as `https://api.openai.com/v1`, without a trailing slash: https, or http where the host is an address literal or
/// `localhost`; no user, query or fragment; at most 2048 characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    url: Url,
    text: String,
}

impl Endpoint {
    /// The URL.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Host name or address literal (IPv6 without brackets).
    pub fn host(&self) -> String {
        match self.url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => String::new(),
        }
    }

    /// Port, the scheme's default included.
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or_default()
    }

    /// Whether it is spoken to over TLS.
    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// As text, without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if text.len() > 2048 {
            return Err(EndpointError::Length);
        }
        let url = Url::parse(text).map_err(|_| EndpointError::Url)?;
        let plain_allowed = match url.host().ok_or(EndpointError::Url)? {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(_) | Host::Ipv6(_) => true,
        };
        match url.scheme() {
            "https" => {}
            "http" if plain_allowed => {}
            "http" => return Err(EndpointError::Plain),
            _ => return Err(EndpointError::Url),
        }
        let extras = !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some();
        if extras {
            return Err(EndpointError::Extras);
        }
        let text = url.as_str().trim_end_matches('/').to_owned();
        // Parsed again, so that endpoints of one text are equal.
        let url = Url::parse(&text).map_err(|_| EndpointError::Url)?;
        Ok(Self { url, text })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

serde_as_text!(Provider, Endpoint);

/// What is wrong with an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL with a host.
    #[error("an endpoint is an https URL with a host, such as https://api.openai.com/v1")]
    Url,
    /// Credentials would cross the network in plain.
    #[error("an endpoint with a host name must be https; http is for address literals and localhost")]
    Plain,
    /// User, query or fragment.
    #[error("an endpoint has no user, password, query or fragment")]
    Extras,
    /// Too long.
    #[error("an endpoint has at most 2048 characters")]
    Length,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_version_is_a_date_or_v1() {
        for good in ["2024-10-21", "2025-04-01-preview", "v1"] {
            assert_eq!(good.parse::<ApiVersion>().expect(good).as_str(), good);
        }
        for bad in [
            "",
            "v2",
            "2024-10-2",
            "2024-10-21 ",
            "2024_10_21",
            "2024-10-21-beta",
            "latest",
            "2024-10-21&x=y",
        ] {
            assert_eq!(bad.parse::<ApiVersion>(), Err(ApiVersionError), "{bad}");
        }
    }

    #[test]
    fn endpoints_are_https_or_local() {
        for good in [
            "https://api.openai.com/v1",
            "http://127.0.0.1:8190/v1/",
            "http://[::1]:80",
            "http://localhost:11434/v1",
        ] {
            assert!(good.parse::<Endpoint>().is_ok(), "{good}");
        }
        for bad in [
            "http://api.openai.com",
            "ftp://x",
            "https://u:p@h/",
            "https://h/?q",
            "https://h/#f",
            "h",
            "https://",
        ] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
        let endpoint: Endpoint = "http://[::1]:8190/v1/".parse().expect("good");
        assert_eq!("http://[::1]:8190/v1".parse(), Ok(endpoint.clone()));
        assert_eq!(
            (endpoint.host().as_str(), endpoint.port(), endpoint.as_str()),
            ("::1", 8190, "http://[::1]:8190/v1")
        );
    }
}
