//! `DiscoveryService`: the routers' view of the region's workers.

use std::{sync::Arc, time::Duration};

use bailiwick_core::{
    enrollment::Enrollment,
    fleet::{Arrival, Fleet, Live},
    ports::store::Store,
    records::{Page, Revision, WorkerRecord},
};
use bailiwick_domain::{jurisdiction::Jurisdiction, region::Regions, spiffe::ProcessRole, time::Clock};
use bailiwick_proto::{
    status::Refusal,
    worker::v1::{WatchRequest, WatchResponse, WorkerEndpoint, discovery_service_server::DiscoveryService},
};
use futures_util::{Stream, StreamExt as _, stream, stream::BoxStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{attendance::Standing, membership};

/// The set is sent at least this often, so that a router can tell a quiet region from a dead connection.
const REFRESH: Duration = Duration::from_secs(10);
/// Within this time of a start the workers that serve have come back.
const SETTLE: Duration = Duration::from_secs(5);
const MAX_PAGE: u32 = 1000;
const MAX_BUILD: usize = 64;

/// The service.
pub(crate) struct DiscoveryGrpc {
    pub(crate) enrollment: Arc<Enrollment>,
    pub(crate) jurisdiction: Jurisdiction,
    pub(crate) regions: Regions,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    /// When this process began to listen.
    pub(crate) started: Instant,
    pub(crate) drain: CancellationToken,
}

#[tonic::async_trait]
impl DiscoveryService for DiscoveryGrpc {
    type WatchStream = BoxStream<'static, Result<WatchResponse, Status>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let peer = membership::peer(&request)?;
        let member = self.enrollment.member(&peer.spiffe).await;
        let member = member.map_err(|error| membership::refusal(error, &self.regions))?;
        membership::admit_region(&self.jurisdiction, &self.regions, &request.get_ref().region)?;
        let build = &request.get_ref().build;
        if build.len() > MAX_BUILD || !build.bytes().all(|byte| byte.is_ascii_graphic()) {
            let problem = format!("is not 0 to {MAX_BUILD} printable characters");
            return Err(Refusal::invalid("build", problem).into());
        }

        let router = Arrival {
            id: member.id,
            role: member.role,
            name: member.name,
            build: build.clone(),
            address: String::new(),
            boot_id: String::new(),
            certificate: peer.fingerprint,
        };
        let presence = self.fleet.arrive(router, self.clock.now());
        // A router applies no configuration: being connected is all there is.
        presence.acknowledged(Revision::default(), self.clock.now());

        let settled = settle(Arc::clone(&self.fleet), Arc::clone(&self.store), self.started + SETTLE);
        let fleet = Arc::clone(&self.fleet);
        let sets = stream::once(settled).flat_map(move |()| sets(Arc::clone(&fleet)));
        // The router is here for as long as its stream is.
        let sets = sets.inspect(move |_| {
            let _ = &presence;
        });
        let sets = sets.take_until(self.drain.clone().cancelled_owned()).boxed();
        let standing = Standing { enrollment: Arc::clone(&self.enrollment), spiffe: peer.spiffe.clone() };
        Ok(Response::new(standing.guard(sets)))
    }
}

/// The set now, at each change, and at least every [`REFRESH`].
fn sets(fleet: Arc<Fleet>) -> impl Stream<Item = Result<WatchResponse, Status>> + Send {
    let mut changes = fleet.changes();
    changes.mark_changed();
    stream::unfold((changes, fleet), |(mut changes, fleet)| async {
        // Elapsed: the same set once more.
        if let Ok(Err(_closed)) = tokio::time::timeout(REFRESH, changes.changed()).await {
            return None;
        }
        let workers = fleet.ready_workers().into_iter().map(endpoint).collect();
        Some((Ok(WatchResponse { workers }), (changes, fleet)))
    })
}

/// Just after a start the fleet is empty although the workers serve: they are on their way back to us. A router that were told so would turn
/// its callers away, so it is told nothing, and keeps what it knows, until all that are enrolled are here or `until` has come.
async fn settle(fleet: Arc<Fleet>, store: Arc<dyn Store>, until: Instant) {
    let complete = async {
        let mut changes = fleet.changes();
        loop {
            let enrolled = store.worker_list(&Page { size: MAX_PAGE, token: None }).await;
            let workers =
                |rows: Vec<WorkerRecord>| rows.iter().filter(|row| row.role == ProcessRole::Worker).count();
            let expected = enrolled.map_or(usize::MAX, |page| workers(page.rows));
            if fleet.ready_workers().len() >= expected || changes.changed().await.is_err() {
                return;
            }
        }
    };
    let _ = tokio::time::timeout_at(until, complete).await.is_ok();
}

fn endpoint(worker: Live) -> WorkerEndpoint {
    WorkerEndpoint { name: worker.name, address: worker.address, boot_id: worker.boot_id }
}
