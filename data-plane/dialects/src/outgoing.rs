//! What goes to a provider: method, path, headers, body, and how the call is authenticated. The secret itself is never in this crate's hands, but for
//! SigV4, whose signature is made of it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{Call, Dialect, Refusal, Refused, Support, support};

/// RFC 3986, section 2.3: what stands in a path segment as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The version of Anthropic's API that this crate speaks (<https://docs.claude.com/en/api/versioning>).
pub const ANTHROPIC_VERSION: &str = "2023-06-01";
/// Azure's version where the deployment names none: the last one that is generally available and dated.
pub const AZURE_API_VERSION: &str = "2024-10-21";
/// The version that has no date.
const AZURE_V1: &str = "v1";
/// Most bytes of an `anthropic-beta` header that passes.
const LONGEST_BETA: usize = 1024;

/// A deployment, as far as a dialect is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// What it speaks.
    pub dialect: Dialect,
    /// The provider's name of the model; for Azure, of the deployment.
    pub model: &'a str,
    /// Azure alone: `api-version`, or `v1`.
    pub api_version: Option<&'a str>,
    /// Azure and Bedrock alone: the credential is a bearer token (Entra; a Bedrock API key) rather than the dialect's own.
    pub bearer: bool,
    /// Bedrock alone: the AWS region that signs.
    pub aws_region: Option<&'a str>,
    /// Tokens of an answer, for providers that must be told, when the caller does not.
    pub default_max_tokens: u64,
}

impl<'a> Target<'a> {
    /// Tokens of an answer where nobody says: enough for an answer, and within what current models take.
    pub const DEFAULT_MAX_TOKENS: u64 = 16_384;

    /// A deployment with the dialect's own kind of credential.
    pub fn new(dialect: Dialect, model: &'a str) -> Self {
        Self {
            dialect,
            model,
            api_version: None,
            bearer: false,
            aws_region: None,
            default_max_tokens: Self::DEFAULT_MAX_TOKENS,
        }
    }

    /// How calls to it are authenticated.
    pub fn authentication(&self) -> Authentication<'a> {
        match self.dialect {
            Dialect::AzureOpenAi if !self.bearer => Authentication::ApiKey("api-key"),
            Dialect::Anthropic => Authentication::ApiKey("x-api-key"),
            Dialect::Gemini => Authentication::ApiKey("x-goog-api-key"),
            Dialect::Bedrock if !self.bearer => {
                Authentication::SigV4 { service: "bedrock", region: self.aws_region.unwrap_or_default() }
            }
            _ => Authentication::Bearer,
        }
    }

    /// Path and query, below the endpoint's own path. Endpoints end in: `/v1` for OpenAI, its like and Anthropic; `/openai` for Azure; `/v1beta` for
    /// Gemini; `/v1/projects/{project}/locations/{location}` for Vertex; nothing for Bedrock. Errors: the provider does not serve the call.
    pub fn path(&self, call: Call, stream: bool) -> Result<String, Refused> {
        if let Support::Refused(why) = support(call, self.dialect) {
            return Err(Refusal::unsupported(call.path().trim_start_matches('/').replace('/', "."), why)
                .by(self.dialect));
        }
        let model = utf8_percent_encode(self.model, SEGMENT);
        Ok(match self.dialect {
            Dialect::OpenAi | Dialect::OpenAiCompatible
                if call.caller().is_some() && call != Call::Responses =>
            {
                Call::ChatCompletions.path().to_owned()
            }
            Dialect::OpenAi => call.path().to_owned(),
            Dialect::OpenAiCompatible if call == Call::Responses => Call::ChatCompletions.path().to_owned(),
            Dialect::OpenAiCompatible => call.path().to_owned(),
            Dialect::AzureOpenAi => self.azure_path(call),
            Dialect::Anthropic if call == Call::CountTokens => call.path().to_owned(),
            Dialect::Anthropic => Call::Messages.path().to_owned(),
            Dialect::Gemini if call == Call::CountTokens => format!("/models/{model}:countTokens"),
            Dialect::Gemini if stream => format!("/models/{model}:streamGenerateContent?alt=sse"),
            Dialect::Gemini => format!("/models/{model}:generateContent"),
            Dialect::Vertex if call == Call::CountTokens => {
                format!("/publishers/google/models/{model}:countTokens")
            }
            Dialect::Vertex if stream => {
                format!("/publishers/google/models/{model}:streamGenerateContent?alt=sse")
            }
            Dialect::Vertex => format!("/publishers/google/models/{model}:generateContent"),
            Dialect::Bedrock if call == Call::CountTokens => format!("/model/{model}/count-tokens"),
            Dialect::Bedrock if stream => format!("/model/{model}/converse-stream"),
            Dialect::Bedrock => format!("/model/{model}/converse"),
        })
    }

    /// Azure has two ways: below a deployment, with a dated version; and `v1`, where the body names the deployment, and which alone has responses
    /// (<https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle>).
    fn azure_path(&self, call: Call) -> String {
        let call = match call.caller() {
            Some(_) if call != Call::Responses => Call::ChatCompletions,
            _ => call,
        };
        if call == Call::Responses || self.api_version == Some(AZURE_V1) {
            return format!("/{AZURE_V1}{}", call.path());
        }
        let version = utf8_percent_encode(self.api_version.unwrap_or(AZURE_API_VERSION), SEGMENT);
        let deployment = utf8_percent_encode(self.model, SEGMENT);
        format!("/deployments/{deployment}{}?api-version={version}", call.path())
    }

    /// Headers that the dialect wants, beside `content-type`.
    pub fn headers(&self, stream: bool) -> Vec<(&'static str, &'static str)> {
        let accept = match self.dialect {
            Dialect::Bedrock if stream => "application/vnd.amazon.eventstream",
            _ if stream => "text/event-stream",
            _ => "application/json",
        };
        let mut headers = vec![("accept", accept)];
        if self.dialect == Dialect::Anthropic {
            headers.push(("anthropic-version", ANTHROPIC_VERSION));
        }
        headers
    }
}

/// How a call is authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication<'a> {
    /// `Authorization: Bearer …`.
    Bearer,
    /// The secret, alone, in this header.
    ApiKey(&'static str),
    /// AWS signature of the whole request: [`crate::bedrock::sign`].
    SigV4 {
        /// Name in the scope.
        service: &'static str,
        /// Region in the scope.
        region: &'a str,
    },
}

/// A translated request.
pub struct Outgoing<'a> {
    /// `POST`, for every dialect.
    pub method: &'static str,
    /// Below the endpoint's own path.
    pub path_and_query: String,
    /// Beside those of the connection and of authentication.
    pub headers: Vec<(&'static str, &'static str)>,
    /// Who says who calls.
    pub authentication: Authentication<'a>,
    /// JSON.
    pub body: Vec<u8>,
}

/// Whether a caller's `anthropic-beta` header passes: only between Anthropic's own dialect on both sides, and only as a list of plain names. Where a request is
/// translated it is dropped: what a beta adds are fields, and those are refused by name.
pub fn passes_anthropic_beta(call: Call, provider: Dialect, value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b',' | b' ');
    call.is_anthropic()
        && provider == Dialect::Anthropic
        && value.len() <= LONGEST_BETA
        && value.bytes().all(plain)
}
