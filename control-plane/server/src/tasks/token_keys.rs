//! The keys that sign bearer tokens are followed by others before they are old, and destroyed when nothing good can be signed with them any more.

use std::{sync::Arc, time::Duration};

use bailiwick_core::token_key::TokenKeys;

use super::{Runner, Scope};

const EVERY: Duration = Duration::from_secs(60);

pub(crate) async fn run(runner: Runner, keys: Arc<TokenKeys>) {
    let work = || {
        let keys = Arc::clone(&keys);
        async move { Ok(keys.tend().await?) }
    };
    runner.run("token_keys", Scope::Region, EVERY, work).await;
}
