//! 4: a foreign worker's certificate at the worker API, and foreign processes at the workers themselves.

use async_trait::async_trait;
use bailiwick_domain::spiffe::ProcessRole;

use super::{admin_callers::Listener, keys::addresses, layer};
use crate::{
    attack::{Attack, Pair},
    attempt::Attempt,
    knock::Speaks,
};

pub(super) struct WorkerCallers;

#[async_trait]
impl Attack for WorkerCallers {
    fn number(&self) -> u8 {
        4
    }

    fn name(&self) -> &'static str {
        "a foreign worker at the worker API"
    }

    async fn run(&self, pair: Pair<'_>) -> Vec<Attempt> {
        let Pair { attacker, target } = pair;
        let processes = Listener {
            address: target.access.processes.as_deref(),
            layer: layer::PROCESS_TLS,
            speaks: Speaks::Grpc,
        };
        let worker = attacker.worker.as_ref().ok().map(|worker| &worker.badge);
        let router = attacker.router.as_ref().ok().map(|router| &router.badge);
        let mut attempts = vec![
            processes.foreign("the other region's worker", worker).await,
            processes.foreign("the other region's router", router).await,
            processes.foreign("the other region's operator", Some(&attacker.operator_badge)).await,
            processes.made_up(pair, ProcessRole::Worker).await,
            processes.wrong_role("operator", Ok(&target.operator_badge)).await,
            processes.without().await,
        ];
        let serving =
            Listener { address: addresses(target).next(), layer: layer::WORKER_TLS, speaks: Speaks::Http };
        attempts.extend([
            serving.foreign("the other region's router, at a worker", router).await,
            serving.made_up(pair, ProcessRole::Router).await,
        ]);
        attempts
    }
}
