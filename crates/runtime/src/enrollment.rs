//! How a worker or router gets its certificate, and keeps it fresh.
//!
//! The first comes for a one-time join token, whose fingerprint says which control plane to trust before there is a trust store. Later ones come
//! over mutual TLS, for the one that is held, at half of its life: so a process that is up never runs out of one, unless its control plane is away for
//! half of a certificate's life. Then it has one that has expired, and for a while that one still gets it another ([`RECOVERY_GRACE`](crate::identity::RECOVERY_GRACE)).

use std::{sync::Arc, time::Duration};

use bailiwick_domain::{
    jurisdiction::ForeignRegion,
    key::{JoinToken, KeyFormatError},
    spiffe::ProcessRole,
    time::{Clock, Timestamp},
};
use bailiwick_proto::worker::v1::{
    EnrollRequest, RecoverRequest, RenewRequest, enrollment_service_client::EnrollmentServiceClient,
    renewal_service_client::RenewalServiceClient,
};
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, transport::Channel};

use crate::{
    backoff::{self, Backoff},
    configuration::{ControlPlaneSection, IdentitySection, RegionSection, SecretError},
    grpc::{AddressError, channel},
    identity::{Connector, CsrError, Identity, IdentityError, Material, PinnedConnector, new_key_and_csr},
};

/// How long a call to the control plane may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// A certificate's age is looked at this often, so that a clock that jumps is noticed.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// A renewal that failed is tried again after up to this; there are hours left then.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// When the region issues under another root, its processes renew at once, spread over this long.
const SUPERSEDED_SPREAD: Duration = Duration::from_secs(1);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrollmentError {
    /// The files are there and cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// There is no certificate, and nothing to get one for.
    #[error(
        "there is no usable certificate in {directory}, and no join token is configured: make one with `bailiwick region join-token` and name it in control_plane.join_token"
    )]
    NoToken {
        /// The identity folder.
        directory: String,
    },
    /// There is nobody to ask.
    #[error("control_plane.enrollment_address is not configured")]
    NoRecovery,
    /// The token cannot be read.
    #[error("the join token cannot be read")]
    Token(#[from] SecretError),
    /// The token is none.
    #[error("the join token is malformed")]
    Malformed(#[from] KeyFormatError),
    /// The token is another region's.
    #[error("the join token is of another region")]
    Foreign(#[from] ForeignRegion),
    /// No key can be made.
    #[error(transparent)]
    Key(#[from] CsrError),
    /// The address is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The control plane says no, or is not there.
    #[error("the control plane refused: {}", .0.message())]
    Refused(#[source] Status),
    /// What came is a certificate of something else.
    #[error("the certificate is of a {found}, and this is a {expected}")]
    Role {
        /// The certificate's role.
        found: ProcessRole,
        /// This process's.
        expected: ProcessRole,
    },
}

/// The identity that is stored, or a new one for the join token. Waits for a control plane that is not there yet.
///
/// # Errors
/// See [`EnrollmentError`].
pub async fn establish(
    role: ProcessRole,
    region: &RegionSection,
    control_plane: &ControlPlaneSection,
    section: &IdentitySection,
    clock: &dyn Clock,
) -> Result<Identity, EnrollmentError> {
    let stored = if Identity::exists(&section.directory) {
        Some(Identity::load_dir(&section.directory, region.trust_domain.clone())?)
    } else {
        None
    };
    let identity = match stored {
        Some(identity) if identity.expires() > clock.now() => identity,
        Some(expired) => match recover_when_there(&expired, control_plane).await {
            Ok(()) => expired,
            Err(error) => {
                tracing::warn!(%error, "the certificate has expired and cannot be recovered; joining anew");
                enroll(region, control_plane, section).await?
            }
        },
        None => enroll(region, control_plane, section).await?,
    };
    let spiffe = identity.spiffe_id();
    if spiffe.role != role {
        return Err(EnrollmentError::Role { found: spiffe.role, expected: role });
    }
    if section.name.as_deref().is_some_and(|name| name != spiffe.name()) {
        tracing::warn!(
            certificate = spiffe.name(),
            configured = section.name,
            "the certificate carries another name than is configured; the certificate's holds"
        );
    }
    Ok(identity)
}

async fn enroll(
    region: &RegionSection,
    control_plane: &ControlPlaneSection,
    section: &IdentitySection,
) -> Result<Identity, EnrollmentError> {
    let no_token = || EnrollmentError::NoToken { directory: section.directory.display().to_string() };
    let source = control_plane.join_token.as_ref().ok_or_else(no_token)?;
    let address = control_plane.enrollment_address.as_deref().ok_or_else(no_token)?;
    let token = JoinToken::parse(source.read()?.expose_secret())?;
    let token = region.jurisdiction.admit(token)?;

    let connector = PinnedConnector::new(token.ca_fingerprint(), region.trust_domain.clone())?;
    let mut client = EnrollmentServiceClient::new(channel(address, &connector)?);
    let (key, csr) = new_key_and_csr()?;
    let mut backoff = Backoff::default();
    let answer = loop {
        let request = EnrollRequest { join_token: token.expose().to_owned(), csr_pem: csr.0.clone() };
        match in_time(client.enroll(request)).await {
            Ok(answer) => break answer.into_inner(),
            Err(status) if is_absence(&status) => {
                tracing::warn!(reason = status.message(), address, "the control plane does not answer yet");
                tokio::time::sleep(backoff.next_wait()).await;
            }
            Err(status) => return Err(EnrollmentError::Refused(status)),
        }
    };
    let material =
        Material { root_pem: answer.root_pem, certificate_pem: answer.certificate_pem, key_pem: key.0 };
    let identity = Identity::establish(&section.directory, region.trust_domain.clone(), &material)?;
    tracing::info!(spiffe_id = %identity.spiffe_id(), "enrolled");
    Ok(identity)
}

/// Where a process that holds a certificate gets another.
#[derive(Clone)]
pub struct Sources {
    /// To the control plane's worker API, with a certificate that is good.
    pub renewal: Channel,
    /// To its enrollment listener, with one that has expired; `None` where its address is not configured.
    pub recovery: Option<Channel>,
}

/// Renews the certificate, again and again, until stopped.
pub async fn keep_fresh(
    identity: Identity,
    sources: Sources,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    loop {
        let due = renewal_time(identity.issued(), identity.expires(), rand::random());
        let held = identity.fingerprint();
        // Until it is due, or someone else replaced it, or the region issues under another root.
        while clock.now() < due && identity.fingerprint() == held && !identity.is_superseded() {
            let left = due.saturating_since(clock.now()).min(LOOK_INTERVAL);
            tokio::select! {
                () = stop.cancelled() => return,
                () = identity.superseded() => tokio::time::sleep(backoff::random_part(SUPERSEDED_SPREAD)).await,
                () = tokio::time::sleep(left) => {}
            }
        }
        if identity.fingerprint() != held {
            continue;
        }
        let has_expired = identity.expires() <= clock.now();
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            outcome = get_another(&identity, &sources, has_expired) => outcome,
        };
        let life = identity.expires().saturating_since(identity.issued());
        let retry = backoff::random_part(RETRY_INTERVAL.min(life / 10));
        if let Err(error) = outcome {
            let left = identity.expires().saturating_since(clock.now());
            tracing::warn!(%error, left_seconds = left.as_secs(), "the certificate is not renewed yet");
        } else if !identity.is_superseded() {
            continue;
        }
        // Also where the new certificate is of the old root: whom we asked has not heard of the new one yet.
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(retry) => {}
        }
    }
}

async fn get_another(
    identity: &Identity,
    sources: &Sources,
    has_expired: bool,
) -> Result<(), EnrollmentError> {
    match &sources.recovery {
        Some(recovery) if has_expired => recover(identity, recovery.clone()).await,
        _ => renew(identity, sources.renewal.clone()).await,
    }
}

async fn renew(identity: &Identity, channel: Channel) -> Result<(), EnrollmentError> {
    let (key, csr) = new_key_and_csr()?;
    let request = RenewRequest { csr_pem: csr.0 };
    let answer = in_time(RenewalServiceClient::new(channel).renew(request)).await;
    let answer = answer.map_err(EnrollmentError::Refused)?.into_inner();
    let material =
        Material { root_pem: answer.root_pem, certificate_pem: answer.certificate_pem, key_pem: key.0 };
    Ok(identity.replace(&material)?)
}

/// For a certificate that has expired.
async fn recover(identity: &Identity, channel: Channel) -> Result<(), EnrollmentError> {
    let (key, csr) = new_key_and_csr()?;
    let request = RecoverRequest { csr_pem: csr.0 };
    let answer = in_time(EnrollmentServiceClient::new(channel).recover(request)).await;
    let answer = answer.map_err(EnrollmentError::Refused)?.into_inner();
    let material =
        Material { root_pem: answer.root_pem, certificate_pem: answer.certificate_pem, key_pem: key.0 };
    identity.replace(&material)?;
    tracing::info!(spiffe_id = %identity.spiffe_id(), "the certificate had expired, and is replaced");
    Ok(())
}

/// The same at a start. Waits for a control plane that is not there yet.
async fn recover_when_there(
    identity: &Identity,
    control_plane: &ControlPlaneSection,
) -> Result<(), EnrollmentError> {
    let Some(channel) = recovery(identity, control_plane)? else {
        return Err(EnrollmentError::NoRecovery);
    };
    let mut backoff = Backoff::default();
    loop {
        match recover(identity, channel.clone()).await {
            Err(EnrollmentError::Refused(status)) if is_absence(&status) && !identity.is_disowned() => {
                tracing::warn!(reason = status.message(), "the control plane does not answer yet");
                tokio::time::sleep(backoff.next_wait()).await;
            }
            done => return done,
        }
    }
}

/// A channel to the enrollment listener that presents `identity`, where its address is configured.
///
/// # Errors
/// The address is none, or TLS cannot be set up.
pub fn recovery(
    identity: &Identity,
    control_plane: &ControlPlaneSection,
) -> Result<Option<Channel>, EnrollmentError> {
    let connector = Connector::new(identity.clone(), ProcessRole::ControlPlane)?;
    let address = control_plane.enrollment_address.as_deref();
    Ok(address.map(|address| channel(address, &connector)).transpose()?)
}

/// Half of the life ± 10 %, so that a region's processes do not come all at once. `random` is 0 to 1.
fn renewal_time(issued: Timestamp, expires: Timestamp, random: f64) -> Timestamp {
    let life = expires.saturating_since(issued);
    issued.saturating_add(life.mul_f64(0.4 + 0.2 * random.clamp(0.0, 1.0)))
}

/// Nobody is there, or not for the moment; anything else will be answered the same again.
fn is_absence(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted)
}

async fn in_time<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    tokio::time::timeout(CALL_TIMEOUT, call)
        .await
        .unwrap_or_else(|_late| Err(Status::deadline_exceeded("no answer in 20 s")))
}

#[cfg(test)]
mod tests;
