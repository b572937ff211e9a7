//! Follows what the region trusts: its roots, and whose certificates are revoked.
//!
//! The state comes whole, over a connection that the present root authenticates, and is said back when it is applied. Within an epoch it never goes back
//! (R12). When the control plane is away, what was heard last holds, and certificates expire by themselves within a day.

use std::{sync::Arc, time::Duration};

use bailiwick_domain::{
    key::CaFingerprint,
    spiffe::{ProcessRole, SpiffeError, SpiffeId},
    time::{Clock, Timestamp},
};
use bailiwick_proto::{
    status::reason_of,
    worker::v1::{
        FollowRequest, FollowResponse, RevokedCertificate, trust_service_client::TrustServiceClient,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, transport::Channel};

use crate::{
    backoff::Backoff,
    identity::{Identity, IdentityError, MAX_REVOCATIONS, Revocation},
};

/// A state comes every 10 seconds; after this long without one the control plane is taken for gone.
const SILENCE: Duration = Duration::from_secs(30);
/// Reports that wait for the connection. The next one says all that the last one said.
const QUEUE: usize = 8;

/// Why a state is not applied, or none comes.
#[derive(Debug, thiserror::Error)]
enum TrustError {
    #[error("the control plane answered: {}", .0.message())]
    Refused(#[from] Status),
    #[error("the control plane ended the stream")]
    Ended,
    #[error("the control plane fell silent")]
    Silence,
    #[error("the control plane is at version {offered}, behind {applied}, which is applied")]
    Older { offered: u64, applied: u64 },
    #[error("the root that certificates are issued under is not named by 32 bytes")]
    Issuing,
    #[error("the roots cannot be trusted: {0}")]
    Roots(#[from] IdentityError),
    #[error("a revocation's {0}")]
    Holder(#[from] SpiffeError),
    #[error("a role that no certificate of a process can be revoked for: {0}")]
    Role(ProcessRole),
    #[error("{found} revocations, and at most {MAX_REVOCATIONS} are allowed")]
    TooMany { found: usize },
}

/// Follows the trust state of the region named `region`, and applies it to `identity`, until stopped. When the control plane says that this
/// process's own certificate is revoked, the identity notes it ([`Identity::disowned`]).
pub async fn follow(
    identity: Identity,
    channel: Channel,
    region: String,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let following = Following { identity, region, clock, epoch: String::new(), version: 0 };
    tokio::select! {
        () = stop.cancelled() => {}
        () = following.run(channel) => {}
    }
}

struct Following {
    identity: Identity,
    region: String,
    clock: Arc<dyn Clock>,
    /// What is applied; empty while nothing is.
    epoch: String,
    version: u64,
}

impl Following {
    async fn run(mut self, channel: Channel) {
        let mut client = TrustServiceClient::new(channel);
        let mut backoff = Backoff::default();
        let mut trouble: Option<String> = None;
        loop {
            let before = self.version;
            let Err(error) = self.attend(&mut client).await;
            if matches!(&error, TrustError::Refused(status) if reason_of(status).as_deref() == Some("worker_removed"))
            {
                self.identity.disown();
            }
            if self.identity.is_disowned() {
                // Until it is another: an operator may put new files in their place.
                self.identity.changes().changed().await.ok();
            }
            if self.version != before {
                backoff.reset();
                trouble = None;
            }
            // Once per reason: an outage of an hour is one line.
            let reason = Some(error.to_string());
            if reason != trouble {
                tracing::warn!(reason, "not told whom the region trusts; what was heard last holds");
                trouble = reason;
            }
            tokio::time::sleep(backoff.next_wait()).await;
        }
    }

    /// One stream, to its end.
    async fn attend(
        &mut self,
        client: &mut TrustServiceClient<Channel>,
    ) -> Result<std::convert::Infallible, TrustError> {
        let (reports, outgoing) = mpsc::channel(QUEUE);
        self.report(&reports);
        let mut states = client.follow(ReceiverStream::new(outgoing)).await?.into_inner();
        let mut changes = self.identity.changes();
        loop {
            tokio::select! {
                state = tokio::time::timeout(SILENCE, states.message()) => {
                    let state = state.map_err(|_late| TrustError::Silence)??.ok_or(TrustError::Ended)?;
                    self.apply(state)?;
                    self.report(&reports);
                }
                // Another certificate: the control plane waits to hear of it while the region changes its root.
                _renewed = changes.changed() => self.report(&reports),
            }
        }
    }

    fn report(&self, reports: &mpsc::Sender<FollowRequest>) {
        let trusted = self.identity.trusted_roots().into_iter().map(|root| root.0.to_vec().into());
        let report = FollowRequest {
            region: self.region.clone(),
            epoch: self.epoch.clone(),
            version: self.version,
            trusted_roots: trusted.collect(),
            certificate_root: self.identity.root_fingerprint().0.to_vec().into(),
        };
        // Where the queue is full, the report after the next state says as much.
        let _full_or_closed = reports.try_send(report);
    }

    /// All of a state, or nothing of it.
    fn apply(&mut self, state: FollowResponse) -> Result<(), TrustError> {
        if state.epoch == self.epoch && state.version < self.version {
            return Err(TrustError::Older { offered: state.version, applied: self.version });
        }
        if state.revoked.len() > MAX_REVOCATIONS {
            return Err(TrustError::TooMany { found: state.revoked.len() });
        }
        let revoked: Vec<Revocation> =
            state.revoked.iter().map(|entry| self.revocation(entry)).collect::<Result<_, _>>()?;
        let issuing = state.issuing_root.as_ref().try_into().map_err(|_length| TrustError::Issuing)?;
        self.identity.set_issuing(CaFingerprint(issuing));
        if self.identity.trust(&state.roots_pem)? {
            let roots = self.identity.trusted_roots().len();
            tracing::info!(version = state.version, roots, "the roots that are trusted changed");
        }
        if self.identity.revocations().learn(revoked, self.clock.now()) {
            tracing::info!(
                version = state.version,
                revocations = self.identity.revocations().len(),
                "certificates of the region are revoked"
            );
        }
        if self.identity.revocations().refuse(&self.identity.spiffe_id(), self.identity.issued()) {
            self.identity.disown();
        }
        (self.epoch, self.version) = (state.epoch, state.version);
        Ok(())
    }

    /// The holder is of this trust domain by construction: the message has no place for another.
    fn revocation(&self, entry: &RevokedCertificate) -> Result<Revocation, TrustError> {
        let role: ProcessRole = entry.role.parse()?;
        // Else one message could end a region: everybody would refuse its control plane.
        if role == ProcessRole::ControlPlane {
            return Err(TrustError::Role(role));
        }
        Ok(Revocation {
            holder: SpiffeId::new(self.identity.trust_domain().clone(), role, &entry.name)?,
            issued_until: Timestamp::from_micros(entry.issued_until_micros),
            expires: Timestamp::from_micros(entry.expires_at_micros),
        })
    }
}

#[cfg(test)]
mod tests;
