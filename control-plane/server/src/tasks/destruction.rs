//! What deleted organizations leave is destroyed, in batches.

use std::{sync::Arc, time::Duration};

use bailiwick_core::destruction::Destruction;

use super::{Runner, Scope};

const EVERY: Duration = Duration::from_secs(30);

pub(crate) async fn run(runner: Runner, destruction: Arc<Destruction>) {
    let work = || {
        let destruction = Arc::clone(&destruction);
        async move {
            let certificates = destruction.run_once().await?;
            if certificates > 0 {
                tracing::info!(certificates, "deleted organizations were destroyed");
            }
            Ok(())
        }
    };
    runner.run("destruction", Scope::Region, EVERY, work).await;
}
