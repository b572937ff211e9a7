//! Tests wait for conditions, never for a time.

use std::time::Duration;

/// Returns when the condition holds; fails after half a minute.
pub(crate) async fn eventually(condition: impl Fn() -> bool) {
    let poll = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), poll).await.expect("the condition never held");
}
