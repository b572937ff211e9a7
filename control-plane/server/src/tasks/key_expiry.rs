//! Keys whose expiry, or the overlap of their rotation, has passed are revoked.

use std::{sync::Arc, time::Duration};

use bailiwick_core::expiry::Expiry;

use super::{Runner, Scope};

const EVERY: Duration = Duration::from_secs(30);

pub(crate) async fn run(runner: Runner, expiry: Arc<Expiry>) {
    let work = || {
        let expiry = Arc::clone(&expiry);
        async move {
            let revoked = expiry.run_once().await?;
            if revoked > 0 {
                tracing::info!(revoked, "expired keys were revoked");
            }
            Ok(())
        }
    };
    runner.run("key_expiry", Scope::Region, EVERY, work).await;
}
