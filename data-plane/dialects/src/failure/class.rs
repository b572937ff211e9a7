//! Classes of errors, and how each dialect says them.

/// What kind of error it is. Fallbacks and retries are decided on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Too many requests or tokens.
    RateLimit,
    /// The provider has no capacity now.
    Overloaded,
    /// The prompt does not fit into the model's context window.
    ContextLength,
    /// The provider's policy refuses the prompt or the answer.
    ContentPolicy,
    /// The request is wrong.
    InvalidRequest,
    /// The body is too large.
    TooLarge,
    /// The model (or deployment) is not there.
    NotFound,
    /// The credential is refused, or may not do this.
    Authentication,
    /// The organization's account with the provider is exhausted.
    Account,
    /// The provider took too long.
    Timeout,
    /// The provider failed.
    Server,
    /// The provider's answer broke off, or is not what it should be.
    InvalidAnswer,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::RateLimit,
        Self::Overloaded,
        Self::ContextLength,
        Self::ContentPolicy,
        Self::InvalidRequest,
        Self::TooLarge,
        Self::NotFound,
        Self::Authentication,
        Self::Account,
        Self::Timeout,
        Self::Server,
        Self::InvalidAnswer,
    ];

    /// Status that the caller gets.
    pub fn status(self) -> u16 {
        match self {
            Self::RateLimit => 429,
            Self::Overloaded => 503,
            Self::ContextLength | Self::ContentPolicy | Self::InvalidRequest => 400,
            Self::TooLarge => 413,
            Self::NotFound => 404,
            Self::Authentication | Self::Account | Self::Server | Self::InvalidAnswer => 502,
            Self::Timeout => 504,
        }
    }

    /// `code` and `type` of OpenAI's errors.
    pub(super) fn openai(self) -> (&'static str, &'static str) {
        match self {
            Self::RateLimit => ("rate_limit_exceeded", "rate_limit_error"),
            Self::Overloaded => ("provider_overloaded", "api_error"),
            Self::ContextLength => ("context_length_exceeded", "invalid_request_error"),
            Self::ContentPolicy => ("content_policy_violation", "invalid_request_error"),
            Self::InvalidRequest => ("invalid_request", "invalid_request_error"),
            Self::TooLarge => ("request_too_large", "invalid_request_error"),
            Self::NotFound => ("model_not_found", "not_found_error"),
            Self::Authentication => ("provider_credential_refused", "api_error"),
            Self::Account => ("provider_account_exhausted", "api_error"),
            Self::Timeout => ("provider_timeout", "api_error"),
            Self::Server => ("provider_error", "api_error"),
            Self::InvalidAnswer => ("provider_invalid_response", "api_error"),
        }
    }

    /// `type` of Anthropic's errors (<https://docs.claude.com/en/api/errors>).
    pub(super) fn anthropic(self) -> &'static str {
        match self {
            Self::RateLimit => "rate_limit_error",
            Self::Overloaded => "overloaded_error",
            Self::ContextLength | Self::ContentPolicy | Self::InvalidRequest => "invalid_request_error",
            Self::TooLarge => "request_too_large",
            Self::NotFound => "not_found_error",
            Self::Timeout => "timeout_error",
            Self::Authentication | Self::Account | Self::Server | Self::InvalidAnswer => "api_error",
        }
    }

    /// Status of Anthropic's errors, where its own differs.
    pub(super) fn anthropic_status(self) -> u16 {
        match self {
            Self::Overloaded => 529,
            other => other.status(),
        }
    }

    /// Whether the provider's own text concerns the caller. That of a limit names the organization's account.
    pub(super) fn tells(self) -> bool {
        matches!(self, Self::ContextLength | Self::ContentPolicy | Self::InvalidRequest | Self::TooLarge)
    }

    pub(super) fn own_message(self) -> &'static str {
        match self {
            Self::RateLimit => "the provider's rate limit is reached: try again later",
            Self::Overloaded => "the provider is overloaded: try again in a moment",
            Self::ContextLength => "the prompt does not fit into the model's context window",
            Self::ContentPolicy => "the provider's content policy refused the call",
            Self::InvalidRequest => "the provider refused the request",
            Self::TooLarge => "the request is larger than what the provider takes",
            Self::NotFound => "the provider does not have the model: ask your administrator",
            Self::Authentication => {
                "the provider refused the organization's credential: ask your administrator to replace it"
            }
            Self::Account => {
                "the organization's account with the provider is exhausted: ask your administrator"
            }
            Self::Timeout => "the provider did not answer in time",
            Self::Server => "the provider failed: try again in a moment",
            Self::InvalidAnswer => "the provider's answer broke off or is not what it should be",
        }
    }
}
