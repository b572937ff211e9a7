//! Rich errors: `google.rpc.Status` with `ErrorInfo`, `BadRequest` and `RetryInfo`
//! (<https://google.aip.dev/193>).

use std::{collections::HashMap, time::Duration};

use bailiwick_domain::{jurisdiction::ForeignRegion, region::Regions};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The `domain` of every `ErrorInfo` of ours.
pub const DOMAIN: &str = "bailiwick";

/// Why a call is refused. What stands in it, the caller sees.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// gRPC status code.
    pub code: Code,
    /// Stable, lower_snake_case; programs decide by it.
    pub reason: &'static str,
    /// For people: what is wrong and what to do.
    pub message: String,
    /// Names and values that the message mentions.
    pub metadata: Vec<(String, String)>,
    /// Fields that break a rule, all of them at once.
    pub violations: Vec<Violation>,
    /// When trying again can help.
    pub retry_after: Option<Duration>,
}

/// A field of a request, and the rule that it breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field, e.g. `page.page_size`.
    pub field: String,
    /// The rule; never repeats a secret.
    pub description: String,
}

impl Refusal {
    /// A refusal without details.
    pub fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            metadata: Vec::new(),
            violations: Vec::new(),
            retry_after: None,
        }
    }

    /// One field breaks a rule.
    pub fn invalid(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::violations(vec![Violation { field: field.into(), description: why.into() }])
    }

    /// Several fields break rules.
    pub fn violations(violations: Vec<Violation>) -> Self {
        let fields: Vec<&str> = violations.iter().map(|violation| violation.field.as_str()).collect();
        let message = format!("the request is invalid: {}", fields.join(", "));
        Self { violations, ..Self::new(Code::InvalidArgument, "invalid_argument", message) }
    }

    /// The thing is not there, or the caller may not know that it is.
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, "not_found", format!("{what} is not found"))
    }

    /// An identifier of another region. Says which region is right, where it is known.
    pub fn wrong_region(foreign: &ForeignRegion, regions: &Regions) -> Self {
        let name_of = |code| regions.by_code(code).map(|region| region.name.to_string());
        let mut metadata = vec![("region_code".to_owned(), foreign.found.to_string())];
        let home = name_of(foreign.found).inspect(|name| metadata.push(("region".to_owned(), name.clone())));
        let here = name_of(foreign.expected).unwrap_or_else(|| foreign.expected.to_string());
        let home = home.unwrap_or_else(|| format!("an unknown region ({})", foreign.found));
        if let Some(url) = regions.by_code(foreign.found).and_then(|region| region.endpoint.as_ref()) {
            metadata.push(("home_endpoint".to_owned(), url.to_string()));
        }
        Self {
            metadata,
            ..Self::new(
                Code::FailedPrecondition,
                "wrong_region",
                format!("this is {here}; the identifier belongs to {home}: ask the control plane there"),
            )
        }
    }

    /// Adds a name and a value for programs.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.metadata.push((name.to_owned(), value.into()));
        self
    }

    /// Says when trying again can help.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let mut details = ErrorDetails::new();
        let metadata: HashMap<String, String> = refusal.metadata.into_iter().collect();
        details.set_error_info(refusal.reason, DOMAIN, metadata);
        for violation in refusal.violations {
            details.add_bad_request_violation(violation.field, violation.description);
        }
        if refusal.retry_after.is_some() {
            details.set_retry_info(refusal.retry_after);
        }
        Self::with_error_details(refusal.code, refusal.message, details)
    }
}

/// The reason in a status of ours.
pub fn reason_of(status: &Status) -> Option<String> {
    status.get_details_error_info().filter(|info| info.domain == DOMAIN).map(|info| info.reason)
}

/// A value of the metadata in a status of ours.
pub fn metadata_of(status: &Status, name: &str) -> Option<String> {
    status.get_details_error_info().and_then(|mut info| info.metadata.remove(name))
}

/// The fields that break rules.
pub fn violations_of(status: &Status) -> Vec<Violation> {
    let violations = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    violations.into_iter().map(|v| Violation { field: v.field, description: v.description }).collect()
}

/// When the server says that trying again can help.
pub fn retry_after_of(status: &Status) -> Option<Duration> {
    status.get_details_retry_info().and_then(|info| info.retry_delay)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_survive_the_wire_form() {
        let status: Status = Refusal::violations(vec![
            Violation { field: "name".into(), description: "is empty".into() },
            Violation { field: "page.page_size".into(), description: "is over 1000".into() },
        ])
        .with("limit", "1000")
        .retry_after(Duration::from_secs(3))
        .into();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(reason_of(&status).as_deref(), Some("invalid_argument"));
        assert_eq!(metadata_of(&status, "limit").as_deref(), Some("1000"));
        assert_eq!(violations_of(&status).len(), 2);
        assert_eq!(retry_after_of(&status), Some(Duration::from_secs(3)));
    }
}
