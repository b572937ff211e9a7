//! Which class a provider's error is of, by its words, its status, and where nothing else tells, by its text.

use serde::{Deserialize, de::IgnoredAny};

use crate::Dialect;

use super::{Class, Failure};

/// Characters of a provider's text that are passed on.
const LONGEST_MESSAGE: usize = 4096;

impl Failure {
    /// Reads what a provider answered. `error_type`: Bedrock's header `x-amzn-errortype`. Any bytes give a failure.
    pub fn read(provider: Dialect, status: u16, error_type: Option<&str>, body: &[u8]) -> Self {
        let body: Body = serde_json::from_slice(body).unwrap_or_default();
        let details = match body.error {
            Some(Inner::Object(details)) => details,
            Some(Inner::Text(message)) => {
                Details { message: Some(Loose::Text(message)), ..Details::default() }
            }
            None => Details { message: body.message.map(Loose::Text), ..Details::default() },
        };
        let word = error_type.or(body.aws_type.as_deref());
        Self::judged(provider, status, word, details)
    }

    /// Reads an error that stands in a stream: the value of `error`, or all of an exception.
    pub(crate) fn read_in_stream(provider: Dialect, word: Option<&str>, data: &[u8]) -> Self {
        Self::read(provider, 0, word, data)
    }

    fn judged(provider: Dialect, status: u16, word: Option<&str>, details: Details) -> Self {
        // `ValidationException:http://internal…`, or `com.amazon…#ValidationException`.
        let word = word.map(|word| word.split(':').next().unwrap_or(word));
        let word = word.map(|word| word.rsplit('#').next().unwrap_or(word));
        let number = match &details.code {
            Some(Loose::Number(number)) => u16::try_from(*number).ok(),
            _ => None,
        };
        // A code tells more than the type that it belongs to.
        let fields = [&details.code, &details.kind, &details.status].map(|field| text(field.as_ref()));
        let mut words = std::iter::once(word).chain(fields).flatten();
        let by_words = words.find_map(class_of_word);
        let status = if status == 0 { number.unwrap_or(0) } else { status };
        let by_status = class_of_status(status);
        let class = match by_words {
            // Whatever it says of it: a refused credential is never the caller's fault.
            _ if matches!(status, 401 | 403) => Class::Authentication,
            None => by_status,
            // OpenAI calls much an invalid request that its status tells apart.
            Some(Class::InvalidRequest) if status != 0 && by_status != Class::Server => by_status,
            Some(class) => class,
        };
        let said = text(details.message.as_ref()).unwrap_or_default();
        let class = refined(provider, class, said, &details);
        let told = |field: Option<&Loose>| {
            let field = text(field).filter(|text| class.tells() && !text.trim().is_empty());
            field.map(|text| bounded(text.to_owned()))
        };
        let (message, param) = (told(details.message.as_ref()), told(details.param.as_ref()));
        Self { class, message, param }
    }
}

/// What can be told from a body of any provider. All of them put it into `error`, but for Bedrock.
#[derive(Default, Deserialize)]
struct Body {
    error: Option<Inner>,
    message: Option<String>,
    // Bedrock, behind some gateways; and Anthropic's own envelope.
    #[serde(rename = "__type")]
    aws_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Inner {
    Object(Details),
    // Some compatible servers.
    Text(String),
}

/// Whatever a field holds that should hold text: one odd field must not hide what the others tell.
#[derive(Deserialize)]
#[serde(untagged)]
enum Loose {
    Text(String),
    Number(u64),
    Other(IgnoredAny),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    message: Option<Loose>,
    #[serde(rename = "type")]
    kind: Option<Loose>,
    code: Option<Loose>,
    status: Option<Loose>,
    param: Option<Loose>,
    details: Option<Reasons>,
    innererror: Option<InnerError>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Reasons {
    List(Vec<Reason>),
    Other(IgnoredAny),
}

#[derive(Deserialize)]
struct Reason {
    reason: Option<Loose>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum InnerError {
    Object { code: Option<Loose> },
    Other(IgnoredAny),
}

fn text(loose: Option<&Loose>) -> Option<&str> {
    match loose {
        Some(Loose::Text(text)) => Some(text),
        _ => None,
    }
}

impl Reasons {
    fn tell(&self, words: &[&str]) -> bool {
        match self {
            Self::List(reasons) => {
                let mut told = reasons.iter().filter_map(|one| text(one.reason.as_ref()));
                told.any(|reason| words.contains(&reason))
            }
            Self::Other(_) => false,
        }
    }
}

fn bounded(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(LONGEST_MESSAGE) {
        text.truncate(end);
    }
    text
}

/// By the words that the dialects have for their errors. Compatible servers have words of their own; those are judged by their status.
fn class_of_word(word: &str) -> Option<Class> {
    Some(match word {
        "rate_limit_exceeded"
        | "rate_limit_error"
        | "tokens"
        | "requests"
        | "RESOURCE_EXHAUSTED"
        | "ThrottlingException"
        | "RateLimitReached" => Class::RateLimit,
        "insufficient_quota" | "billing_hard_limit_reached" | "billing_not_active" | "billing_error" => {
            Class::Account
        }
        "overloaded_error"
        | "UNAVAILABLE"
        | "ServiceUnavailableException"
        | "ModelNotReadyException"
        | "slow_down" => Class::Overloaded,
        "context_length_exceeded" | "string_above_max_length" => Class::ContextLength,
        "content_filter"
        | "content_policy_violation"
        | "ResponsibleAIPolicyViolation"
        | "moderation_blocked"
        | "invalid_prompt"
        | "bio_policy" => Class::ContentPolicy,
        "request_too_large" => Class::TooLarge,
        "authentication_error"
        | "permission_error"
        | "invalid_api_key"
        | "UNAUTHENTICATED"
        | "PERMISSION_DENIED"
        | "AccessDeniedException"
        | "UnrecognizedClientException"
        | "ExpiredTokenException"
        | "InvalidSignatureException"
        | "MissingAuthenticationTokenException"
        | "IncompleteSignatureException" => Class::Authentication,
        "not_found_error"
        | "model_not_found"
        | "DeploymentNotFound"
        | "NOT_FOUND"
        | "ResourceNotFoundException" => Class::NotFound,
        "invalid_request_error"
        | "INVALID_ARGUMENT"
        | "FAILED_PRECONDITION"
        | "OUT_OF_RANGE"
        | "ValidationException" => Class::InvalidRequest,
        "timeout_error" | "DEADLINE_EXCEEDED" | "ModelTimeoutException" => Class::Timeout,
        "api_error"
        | "server_error"
        | "INTERNAL"
        | "UNKNOWN"
        | "InternalServerException"
        | "ModelErrorException"
        | "ModelStreamErrorException" => Class::Server,
        // In a stream, exceptions are named by their member.
        "throttlingException" => Class::RateLimit,
        "validationException" => Class::InvalidRequest,
        "serviceUnavailableException" => Class::Overloaded,
        "internalServerException" | "modelStreamErrorException" => Class::Server,
        _ => return None,
    })
}

fn class_of_status(status: u16) -> Class {
    match status {
        401 | 403 => Class::Authentication,
        402 => Class::Account,
        404 => Class::NotFound,
        408 | 504 => Class::Timeout,
        413 => Class::TooLarge,
        429 => Class::RateLimit,
        503 | 529 => Class::Overloaded,
        400..=499 => Class::InvalidRequest,
        _ => Class::Server,
    }
}

/// What words and statuses do not tell. OpenAI gives context and policy codes of their own; the others say it in their text alone, which is the only
/// place to read it from (no reference lists these texts; they are those that the providers' own clients and users report).
fn refined(provider: Dialect, class: Class, text: &str, details: &Details) -> Class {
    const KEY: [&str; 3] = ["API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "ACCESS_TOKEN_EXPIRED"];
    if details.details.as_ref().is_some_and(|reasons| reasons.tell(&KEY)) {
        return Class::Authentication;
    }
    if let Some(InnerError::Object { code }) = &details.innererror
        && self::text(code.as_ref()) == Some("ResponsibleAIPolicyViolation")
    {
        return Class::ContentPolicy;
    }
    if !matches!(class, Class::InvalidRequest | Class::TooLarge) {
        return class;
    }
    let text = text.to_ascii_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    let too_long = match provider {
        Dialect::Anthropic => {
            says(&["prompt is too long", "exceed context limit", "exceeds the context window"])
        }
        Dialect::Gemini | Dialect::Vertex => says(&["input token count"]) && says(&["exceed"]),
        Dialect::Bedrock => says(&[
            "input is too long",
            "prompt is too long",
            "too many input tokens",
            "maximum context length",
            "context window",
        ]),
        _ => says(&[
            "maximum context length",
            "context length exceeded",
            "context window",
            "maximum model length",
            "exceeds the available context size",
        ]),
    };
    let by_policy = match provider {
        Dialect::Anthropic => says(&["content filtering policy", "usage policy"]),
        Dialect::Bedrock => says(&["content filtering policy", "blocked by our content"]),
        _ => says(&["content management policy", "content policy", "usage policy"]),
    };
    let account = provider == Dialect::Anthropic && says(&["credit balance is too low"]);
    let key = matches!(provider, Dialect::Gemini | Dialect::Vertex)
        && says(&["api key not valid", "api key expired"]);
    match class {
        _ if key => Class::Authentication,
        _ if account => Class::Account,
        _ if too_long => Class::ContextLength,
        _ if by_policy => Class::ContentPolicy,
        other => other,
    }
}
