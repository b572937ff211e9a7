//! What calls are counted by: closed lists of words, so that no label carries what a tenant wrote.

/// Why a call to a provider failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpstreamFailure {
    /// The region's egress policy does not admit where it leads.
    Egress,
    /// No connection.
    Unreachable,
    /// A phase took too long.
    TimedOut,
    /// What came was no answer, or was cut off.
    InvalidResponse,
    /// It answered with a status of 500 or above.
    ServerError,
    /// It answered with 429.
    RateLimited,
    /// There was no token to show it.
    NoToken,
}

impl UpstreamFailure {
    pub(super) const ALL: [Self; 7] = [
        Self::Egress,
        Self::Unreachable,
        Self::TimedOut,
        Self::InvalidResponse,
        Self::ServerError,
        Self::RateLimited,
        Self::NoToken,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Egress => "egress_refused",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::InvalidResponse => "invalid_response",
            Self::ServerError => "server_error",
            Self::RateLimited => "rate_limited",
            Self::NoToken => "no_token",
        }
    }

    pub(super) fn index(self) -> usize {
        Self::ALL.iter().position(|class| *class == self).unwrap_or_default()
    }
}

/// What becomes of calls beside their first try, and of deployments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Routing {
    /// Tried again at the same deployment.
    Repeated,
    /// Tried at the model's next deployment.
    NextDeployment,
    /// Tried at the model's fallback.
    FallbackModel,
    /// Tried at the fallback for prompts that are too long.
    ContextWindow,
    /// Tried at the fallback for what a content policy refuses.
    ContentPolicy,
    /// Not tried again, because too much was.
    BudgetSpent,
    /// A deployment is left alone for a time.
    CooledDown,
    /// A deployment that was left alone is called again.
    Recovered,
}

impl Routing {
    pub(super) const ALL: [Self; 8] = [
        Self::Repeated,
        Self::NextDeployment,
        Self::FallbackModel,
        Self::ContextWindow,
        Self::ContentPolicy,
        Self::BudgetSpent,
        Self::CooledDown,
        Self::Recovered,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Repeated => "repeated",
            Self::NextDeployment => "next_deployment",
            Self::FallbackModel => "fallback_model",
            Self::ContextWindow => "context_window_fallback",
            Self::ContentPolicy => "content_policy_fallback",
            Self::BudgetSpent => "retry_budget_spent",
            Self::CooledDown => "deployment_cooled_down",
            Self::Recovered => "deployment_recovered",
        }
    }

    pub(super) fn index(self) -> usize {
        Self::ALL.iter().position(|class| *class == self).unwrap_or_default()
    }
}
