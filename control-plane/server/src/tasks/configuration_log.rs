//! The store's configuration log is trimmed: whoever is further behind takes a snapshot.

use std::time::Duration;

use bailiwick_store::SqlStore;

use super::{Runner, Scope};

const EVERY: Duration = Duration::from_secs(600);
/// Revisions that are kept.
const KEEP: u64 = 100_000;

pub(crate) async fn run(runner: Runner, store: SqlStore) {
    let work = || {
        let store = store.clone();
        async move { Ok(store.trim_configuration_log(KEEP).await?) }
    };
    runner.run("configuration_log_trimming", Scope::Region, EVERY, work).await;
}
