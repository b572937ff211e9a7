//! What the end-to-end tests are made of: a whole installation for each, started and stopped as an operator does it, and clients of its public
//! APIs.

pub mod admin;
pub mod calls;
pub mod canaries;
pub mod canary;
pub mod collector;
pub mod installation;
pub mod network;
pub mod process;
pub mod provider;
pub mod secure;

use std::time::{Duration, Instant};

/// How long a test waits before it fails: far longer than anything takes, because a machine may be busy with something else.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer. Fails with `what` when there is none in time.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
