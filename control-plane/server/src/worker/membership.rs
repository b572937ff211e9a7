//! Who calls, and whether the region still knows it. What every service of this API begins with.

use bailiwick_core::{
    enrollment::EnrollmentError, ports::store::StoreError, process_audit::ProcessAuditError,
};
use bailiwick_domain::{
    guard::Guard,
    jurisdiction::{ForeignRegion, Jurisdiction},
    region::Regions,
};
use bailiwick_proto::status::Refusal;
use bailiwick_runtime::identity::Peer;
use tonic::{Code, Request, Status};

use crate::configuration::subscription;

/// When a store that is away may be back.
const STORE_RETRY: std::time::Duration = std::time::Duration::from_secs(1);

/// The verified other end. It is missing only where a service stands on a listener of the wrong kind.
pub(crate) fn peer<T>(request: &Request<T>) -> Result<Peer, Status> {
    let peer = request.extensions().get::<Peer>().cloned();
    peer.ok_or_else(|| {
        Refusal::new(Code::Unauthenticated, "no_certificate", "a client certificate is needed here").into()
    })
}

/// R5: a message that names another region is refused, and told where it belongs.
pub(crate) fn admit_region(
    jurisdiction: &Jurisdiction,
    regions: &Regions,
    name: &str,
) -> Result<(), Refusal> {
    if name == jurisdiction.region().name.as_str() || !Guard::ProcessRegion.stands() {
        return Ok(());
    }
    let Some(found) = regions.by_name_str(name) else {
        return Err(Refusal::invalid("region", "is not the name of a region, such as eu-central-1"));
    };
    let foreign = ForeignRegion { found: found.code, expected: jurisdiction.code() };
    Err(Refusal::wrong_region(&foreign, regions))
}

/// One mapping for the processes' own use cases: enrollment, renewal, membership.
pub(crate) fn refusal(error: EnrollmentError, regions: &Regions) -> Refusal {
    match error {
        EnrollmentError::MalformedToken(_) | EnrollmentError::InvalidToken => Refusal::new(
            Code::Unauthenticated,
            "invalid_join_token",
            "the join token is not valid here: unknown, used or expired; make a new one with `bailiwick worker token`",
        ),
        EnrollmentError::Foreign(foreign) => Refusal::wrong_region(&foreign, regions),
        EnrollmentError::InvalidRequest(problem) => Refusal::invalid("csr_pem", problem),
        EnrollmentError::Removed => subscription::removed(),
        EnrollmentError::Superseded => Refusal::new(
            Code::PermissionDenied,
            "certificate_superseded",
            "the member was given a newer certificate: join again with a token from `bailiwick region join-token`",
        ),
        EnrollmentError::Store(error) => store(&error),
        EnrollmentError::Audit(ProcessAuditError::Store(error)) => store(&error),
        EnrollmentError::Vault(_) | EnrollmentError::Audit(_) => internal(&error),
    }
}

/// The store's refusal, for processes: what it says stays here, in the log.
pub(crate) fn store(error: &StoreError) -> Refusal {
    match error {
        StoreError::Unavailable(_) => {
            Refusal::new(Code::Unavailable, "store_unavailable", "the store is away: try again")
                .retry_after(STORE_RETRY)
        }
        other => internal(other),
    }
}

/// Something that should not happen: the caller learns no more than that.
pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Refusal {
    tracing::error!(error, "a call of a worker or router failed");
    Refusal::new(Code::Internal, "internal", "the control plane failed; its log says why")
}
