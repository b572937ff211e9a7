//! Asks the store whether it answers, for `/readyz`.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use bailiwick_core::ports::store::Store;
use bailiwick_runtime::ops::Condition;

use super::{Runner, Scope};

const EVERY: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) async fn run(runner: Runner, store: Arc<dyn Store>, condition: Condition) {
    let work = || {
        let (store, condition) = (Arc::clone(&store), condition.clone());
        async move {
            let answered = tokio::time::timeout(PATIENCE, store.ping()).await;
            let answered = answered.context("the store did not answer in time").and_then(|ping| Ok(ping?));
            match &answered {
                Ok(()) => condition.ready(),
                Err(_) => condition.not_ready("the store does not answer"),
            }
            answered
        }
    };
    runner.run("store_watch", Scope::Process, EVERY, work).await;
}
