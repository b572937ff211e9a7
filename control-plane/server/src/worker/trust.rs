//! `TrustService`: what the region trusts, for workers and routers; and what each of them has applied of it.

use std::{sync::Arc, time::Duration};

use bailiwick_core::{
    enrollment::Enrollment,
    records::{RevokedCertificate, TrustVersion},
    trust::{Following, Trust, TrustState},
};
use bailiwick_domain::{jurisdiction::Jurisdiction, key::CaFingerprint, region::Regions};
use bailiwick_proto::{
    status::Refusal,
    worker::v1::{self as wire, FollowRequest, FollowResponse, trust_service_server::TrustService},
};
use futures_util::{StreamExt as _, stream, stream::BoxStream};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{attendance::Standing, membership};

/// How long a new stream may take to say what its process holds.
const REPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// The state is sent at least this often, so that a process can tell a quiet region from a dead connection.
const REFRESH: Duration = Duration::from_secs(10);

/// The service.
pub(crate) struct TrustGrpc {
    pub(crate) enrollment: Arc<Enrollment>,
    pub(crate) jurisdiction: Jurisdiction,
    pub(crate) regions: Regions,
    pub(crate) trust: Arc<Trust>,
    pub(crate) drain: CancellationToken,
}

#[tonic::async_trait]
impl TrustService for TrustGrpc {
    type FollowStream = BoxStream<'static, Result<FollowResponse, Status>>;

    async fn follow(
        &self,
        request: Request<Streaming<FollowRequest>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let peer = membership::peer(&request)?;
        let member = self.enrollment.member(&peer.spiffe).await;
        let member = member.map_err(|error| membership::refusal(error, &self.regions))?;
        let mut reports = request.into_inner();
        let first = first_report(&mut reports).await?;
        membership::admit_region(&self.jurisdiction, &self.regions, &first.region)?;

        let mut states = self.trust.subscribe();
        states.mark_changed();
        let following = self.trust.attend(member.id, member.role, member.name);
        let stream = Stream { states, reports, following, refresh: Instant::now() };
        stream.hear(&first);
        let answers = stream::unfold(stream, |mut stream| async move {
            let state = stream.next().await?;
            Some((Ok(to_wire(&state)), stream))
        });
        let answers = answers.take_until(self.drain.clone().cancelled_owned()).boxed();
        let standing = Standing { enrollment: Arc::clone(&self.enrollment), spiffe: peer.spiffe.clone() };
        Ok(Response::new(standing.guard(answers)))
    }
}

/// One process's stream.
struct Stream {
    states: watch::Receiver<Option<Arc<TrustState>>>,
    reports: Streaming<FollowRequest>,
    following: Following,
    /// When the state is due again.
    refresh: Instant,
}

impl Stream {
    /// The next state to be sent; `None` when the process has gone.
    async fn next(&mut self) -> Option<Arc<TrustState>> {
        loop {
            tokio::select! {
                changed = self.states.changed() => changed.ok()?,
                () = tokio::time::sleep_until(self.refresh) => {}
                report = self.reports.next() => {
                    self.hear(&report?.ok()?);
                    continue;
                }
            }
            self.refresh = Instant::now() + REFRESH;
            let state = self.states.borrow_and_update().clone();
            if state.is_some() {
                return state;
            }
        }
    }

    /// Of another epoch, the process has applied nothing of ours.
    fn hear(&self, report: &FollowRequest) {
        let ours = self.states.borrow().as_ref().is_some_and(|state| state.epoch == report.epoch);
        let version = if ours { TrustVersion(report.version) } else { TrustVersion::default() };
        let root = |bytes: &bytes::Bytes| <[u8; 32]>::try_from(bytes.as_ref()).map(CaFingerprint).ok();
        let trusted = report.trusted_roots.iter().take(2).filter_map(root).collect();
        self.following.applied(version, trusted, root(&report.certificate_root));
    }
}

async fn first_report(reports: &mut Streaming<FollowRequest>) -> Result<FollowRequest, Status> {
    let late =
        || Status::from(Refusal::invalid("report", "did not come within 10 seconds of the stream's start"));
    let first = tokio::time::timeout(REPORT_TIMEOUT, reports.message()).await.map_err(|_| late())??;
    first.ok_or_else(|| Refusal::invalid("report", "must be the first message of the stream").into())
}

fn to_wire(state: &TrustState) -> FollowResponse {
    FollowResponse {
        epoch: state.epoch.clone(),
        version: state.version.0,
        roots_pem: state.roots_pem.clone(),
        issuing_root: state.issuing.0.to_vec().into(),
        revoked: state.revoked.iter().map(revoked_to_wire).collect(),
    }
}

fn revoked_to_wire(row: &RevokedCertificate) -> wire::RevokedCertificate {
    wire::RevokedCertificate {
        role: row.role.to_string(),
        name: row.name.clone(),
        issued_until_micros: row.issued_until.as_micros(),
        expires_at_micros: row.expires_at.as_micros(),
    }
}
