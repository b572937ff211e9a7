//! The one mapping from what a use case refuses to what a gRPC caller sees.

use bailiwick_core::error::UseCaseError;
use bailiwick_domain::region::Regions;
use bailiwick_proto::status::{Refusal, Violation};
use tonic::Code;

/// When a store, or a key management service, that is away may be back.
const STORE_RETRY: std::time::Duration = std::time::Duration::from_secs(1);

/// Sources stay here, in the log; the caller sees a class, a reason and what to do.
pub(crate) fn refusal(error: UseCaseError, regions: &Regions) -> Refusal {
    let message = error.to_string();
    match error {
        UseCaseError::NotFound { what } => Refusal::not_found(what),
        UseCaseError::Invalid(violations) => Refusal::violations(
            violations
                .into_iter()
                .map(|v| Violation { field: v.field, description: v.description })
                .collect(),
        ),
        UseCaseError::Foreign(foreign) => Refusal::wrong_region(&foreign, regions),
        UseCaseError::Denied { .. } => Refusal::new(Code::PermissionDenied, "permission_denied", message),
        UseCaseError::Forbidden { reason, .. } => Refusal::new(Code::PermissionDenied, reason, message),
        UseCaseError::Unauthenticated { reason, .. } => Refusal::new(Code::Unauthenticated, reason, message),
        UseCaseError::Refused { reason, message, exists } => {
            let code = if exists { Code::AlreadyExists } else { Code::FailedPrecondition };
            Refusal::new(code, reason, message)
        }
        UseCaseError::SignupClosed => Refusal::new(Code::PermissionDenied, "signup_closed", message),
        UseCaseError::Exhausted { reason, retry_after } => {
            Refusal::new(Code::ResourceExhausted, reason, message).retry_after(retry_after)
        }
        UseCaseError::Unavailable(source) => {
            tracing::warn!(error = &source as &dyn std::error::Error, "the store is away");
            Refusal::new(Code::Unavailable, "store_unavailable", message).retry_after(STORE_RETRY)
        }
        UseCaseError::KeysUnavailable(source) => {
            tracing::warn!(error = &source as &dyn std::error::Error, "the key management service is away");
            Refusal::new(Code::Unavailable, "key_service_unavailable", message).retry_after(STORE_RETRY)
        }
        UseCaseError::Internal(source) => {
            tracing::error!(
                error = source.as_ref() as &dyn std::error::Error,
                "a call of the admin API failed"
            );
            Refusal::new(Code::Internal, "internal", "the control plane failed; its log says why")
        }
    }
}
