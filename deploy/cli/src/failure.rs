//! What went wrong, for people and for programs, and the exit code it leads to.

use std::{error::Error, fmt, process::ExitCode};

use bailiwick_proto::status::{Violation, metadata_of, reason_of, retry_after_of, violations_of};
use serde::{Serialize, Serializer, ser::SerializeMap};
use tonic::{Code, Status};

/// How the program ends. Documented in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Unreachable = 3,
    Denied = 4,
    NotFound = 5,
}

impl Exit {
    pub(crate) fn code(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}

/// Why nothing came of it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// Stable, `lower_snake_case`.
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) violations: Vec<Violation>,
    pub(crate) hint: Option<String>,
}

impl Failure {
    fn new(exit: Exit, reason: &str, message: impl Into<String>) -> Self {
        Self { exit, reason: reason.to_owned(), message: message.into(), violations: Vec::new(), hint: None }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, "failed", message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, "not_found", message)
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let reason = reason_of(&status);
        // A failure of the transport has a cause here; what the server refuses has none.
        let cause = innermost(&status);
        let exit = match status.code() {
            Code::Unavailable | Code::DeadlineExceeded => Exit::Unreachable,
            _ if cause.is_some() && reason.is_none() => Exit::Unreachable,
            Code::PermissionDenied | Code::Unauthenticated => Exit::Denied,
            Code::NotFound => Exit::NotFound,
            _ => Exit::Failed,
        };
        let message = match (&cause, &reason) {
            (Some(cause), None) => format!("the control plane cannot be reached: {cause}"),
            _ if status.message().is_empty() => format!("the control plane answers {:?}", status.code()),
            _ => status.message().to_owned(),
        };
        let hint = hint(&status, reason.as_deref(), exit);
        let reason = reason.unwrap_or_else(|| snake_case(status.code()));
        Self { exit, reason, message, violations: violations_of(&status), hint }
    }
}

/// The cause that says something: "connection refused" rather than "transport error".
fn innermost(status: &Status) -> Option<String> {
    let mut cause = status.source()?;
    while let Some(next) = cause.source() {
        cause = next;
    }
    Some(cause.to_string())
}

fn hint(status: &Status, reason: Option<&str>, exit: Exit) -> Option<String> {
    if let Some(after) = retry_after_of(status) {
        return Some(format!("try again in {}", crate::when::short(after)));
    }
    let text = match (reason, exit) {
        (Some("wrong_region"), _) => {
            return metadata_of(status, "region").map(|region| format!("ask there: --region {region}"));
        }
        (Some("credential_in_use"), _) => {
            "delete the deployments that use it first: bailiwick deployment list"
        }
        (Some("deployment_in_use"), _) => "take it from the models that use it first: bailiwick model update",
        (Some("egress_refused"), _) => {
            "the region's egress policy ([egress] in its control plane's configuration) and the organization's residency (bailiwick org residency show) decide which endpoints are allowed"
        }
        (Some("model_name_taken"), _) => "choose another name, or change that model: bailiwick model update",
        (_, Exit::Unreachable) => "bailiwick diagnose says where the connection ends",
        (Some("invalid_service_account"), _) => {
            "bailiwick service-account list shows which there are; rotate gives one a new secret"
        }
        (_, Exit::Denied) => {
            "the context's certificate or service account decides what it may do; an operator's may do everything"
        }
        (_, Exit::NotFound) => "list what is there; an identifier belongs to one region",
        _ => return None,
    };
    Some(text.to_owned())
}

/// `FailedPrecondition` becomes `failed_precondition`.
fn snake_case(code: Code) -> String {
    let mut text = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if !matches!(self.reason.as_str(), "failed" | "usage") {
            write!(f, " ({})", self.reason)?;
        }
        for violation in &self.violations {
            write!(f, "\n  {}: {}", violation.field, violation.description)?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let violations: Vec<_> = self
            .violations
            .iter()
            .map(|violation| serde_json::json!({"field": violation.field, "description": violation.description}))
            .collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("reason", &self.reason)?;
        map.serialize_entry("message", &self.message)?;
        map.serialize_entry("violations", &violations)?;
        map.serialize_entry("hint", &self.hint)?;
        map.serialize_entry("exit_code", &(self.exit as u8))?;
        map.end()
    }
}

#[cfg(test)]
mod tests;
