//! 5: a worker pointed at another region's control plane, as by a mistyped address or a name server that lies. It has to refuse the server: what it
//! would be told is the other region's, and what it would report is its own region's usage.

use std::io::ErrorKind;

use async_trait::async_trait;
use bailiwick_domain::spiffe::ProcessRole;
use bailiwick_runtime::identity::Connector;

use super::layer;
use crate::{
    attack::{Attack, Pair},
    attempt::{Attempt, Probe},
    worker_program::WorkerProgram,
};

const EXPECTED: &str = "the worker refuses the server: its certificate is of another trust domain";

pub(super) struct ForeignControlPlane;

#[async_trait]
impl Attack for ForeignControlPlane {
    fn number(&self) -> u8 {
        5
    }

    fn name(&self) -> &'static str {
        "a worker at a foreign control plane"
    }

    async fn run(&self, pair: Pair<'_>) -> Vec<Attempt> {
        let program = Probe::new(
            "the other region's worker program, pointed at this region's worker API",
            layer::WORKER_CONNECTOR,
            EXPECTED,
        );
        let dialled = Probe::new(
            "the other region's worker certificate, dialling this region's worker API",
            layer::WORKER_CONNECTOR,
            EXPECTED,
        );
        let Some(address) = &pair.target.access.processes else {
            let why = "the context names no worker API";
            return vec![program.not_attempted(why), dialled.not_attempted(why)];
        };
        vec![run(program, pair, address).await, dial(dialled, pair, address).await]
    }
}

fn is_documented(said: &str, pair: Pair<'_>) -> bool {
    let server = format!("spiffe://{}/control-plane/", pair.target.domain);
    said.contains(&server) && said.contains("belongs to another trust domain")
}

/// The program itself: what it says, and that it serves nobody.
async fn run(probe: Probe, pair: Pair<'_>, address: &str) -> Attempt {
    let mut worker = match WorkerProgram::start(pair.attacker, address) {
        Ok(worker) => worker,
        Err(why) => return probe.not_attempted(why),
    };
    let said = worker.trouble().await;
    let ready = worker.is_ready().await;
    worker.end().await;
    match (said, ready) {
        (Ok(said), Ok(false)) => probe.expect(is_documented(&said, pair), said),
        (Ok(said), Ok(true)) => probe.expect(false, format!("the worker is ready; {said}")),
        (Err(why), _) | (_, Err(why)) => probe.unanswered(why),
    }
}

/// The same decision by what this program shares with a worker, also where no worker's program is at hand.
async fn dial(probe: Probe, pair: Pair<'_>, address: &str) -> Attempt {
    let connector = pair.attacker.worker.as_ref().map_err(Clone::clone).and_then(|worker| {
        Connector::new(worker.identity.clone(), ProcessRole::ControlPlane).map_err(|error| error.to_string())
    });
    let connector = match connector {
        Ok(connector) => connector,
        Err(why) => return probe.not_attempted(why),
    };
    let mut found = match tokio::net::lookup_host(address).await {
        Ok(found) => found,
        Err(error) => return probe.unanswered(error.to_string()),
    };
    let Some(socket) = found.next() else {
        return probe.unanswered(format!("{address} resolves to no address"));
    };
    match connector.connect(socket).await {
        Ok(_) => probe.expect(false, "the server was taken for one of its own region"),
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::TimedOut) => {
            probe.unanswered(error.to_string())
        }
        Err(error) => {
            let said = error.to_string();
            probe.expect(is_documented(&said, pair), said)
        }
    }
}
