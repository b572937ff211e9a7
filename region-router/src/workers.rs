//! The region's healthy workers, as the control plane's discovery shows them. When the control plane is away, the last view holds (R9).

use std::{net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use bailiwick_proto::worker::v1::{WatchRequest, discovery_service_client::DiscoveryServiceClient};
use bailiwick_runtime::{backoff::Backoff, ops::Condition};
use tokio_util::sync::CancellationToken;
use tonic::{Status, transport::Channel};

/// A process that serves calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Worker {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    /// New at every start: a restarted worker begins with a clean slate.
    pub(crate) boot_id: String,
}

/// The present view, shared by all cores: one pointer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workers(Arc<ArcSwap<Vec<Worker>>>);

impl Workers {
    pub(crate) fn load(&self) -> arc_swap::Guard<Arc<Vec<Worker>>> {
        self.0.load()
    }

    pub(crate) fn store(&self, workers: Vec<Worker>) {
        self.0.store(Arc::new(workers));
    }

    /// Takes a view over. One without any worker leaves the last one in use: workers that open their streams anew, as all of them do when the certificates that they were opened
    /// with end, are away from the control plane for a moment, and serve. Whoever is really gone cannot be connected to, and whoever is revoked does not get past the handshake.
    fn told(&self, seen: Vec<Worker>, ready: &Condition) {
        if seen.is_empty() {
            ready.not_ready("the region has no healthy worker");
            return;
        }
        ready.ready();
        if **self.load() != seen {
            tracing::info!(workers = seen.len(), "the view of the region's workers changed");
            self.store(seen);
        }
    }
}

/// Follows discovery until stopped.
pub(crate) async fn follow(
    workers: Workers,
    channel: Channel,
    region: String,
    ready: Condition,
    stopped: CancellationToken,
) {
    let mut client = DiscoveryServiceClient::new(channel);
    let mut backoff = Backoff::default();
    while !stopped.is_cancelled() {
        let ended = tokio::select! {
            () = stopped.cancelled() => return,
            ended = watch(&workers, &mut client, &region, &ready, &mut backoff) => ended,
        };
        if let Err(status) = ended {
            tracing::warn!(code = ?status.code(), reason = status.message(), "discovery broke off; the last view holds");
        }
        tokio::select! {
            () = stopped.cancelled() => return,
            () = tokio::time::sleep(backoff.next_wait()) => {}
        }
    }
}

async fn watch(
    workers: &Workers,
    client: &mut DiscoveryServiceClient<Channel>,
    region: &str,
    ready: &Condition,
    backoff: &mut Backoff,
) -> Result<(), Status> {
    let request = WatchRequest { region: region.to_owned(), build: env!("CARGO_PKG_VERSION").to_owned() };
    let mut views = client.watch(request).await?.into_inner();
    while let Some(view) = views.message().await? {
        backoff.reset();
        let seen: Vec<Worker> = view.workers.into_iter().filter_map(worker).collect();
        workers.told(seen, ready);
    }
    Ok(())
}

fn worker(endpoint: bailiwick_proto::worker::v1::WorkerEndpoint) -> Option<Worker> {
    let address = endpoint.address.parse();
    if address.is_err() {
        tracing::warn!(worker = endpoint.name, "a worker advertises an address that is none; it is left out");
    }
    Some(Worker { name: endpoint.name, address: address.ok()?, boot_id: endpoint.boot_id })
}

#[cfg(test)]
mod tests;
