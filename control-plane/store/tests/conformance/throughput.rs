//! How fast usage is taken in. A measurement, not a test: it asserts nothing about time.

use std::time::{Duration, Instant};

use bailiwick_core::ports::store::Store;
use tokio::task::JoinSet;

use crate::{
    fixture::{Fixture, NOW},
    samples::Tenant,
};

const BATCH: usize = 1000;
const BATCHES_PER_SENDER: usize = 50;
/// Calls start one after another, as they do: their identifiers hold the time.
const BETWEEN_CALLS: Duration = Duration::from_micros(20);

pub(crate) async fn usage_insert_throughput(fixture: &Fixture) {
    let mut tenants = Vec::new();
    for (organizations, senders) in [(1, 1), (20, 1), (20, 4), (500, 1), (500, 4)] {
        while tenants.len() < organizations {
            tenants.push(Tenant::stored(fixture).await);
        }
        let mut work = Vec::new();
        let mut started = NOW;
        for _ in 0..senders * BATCHES_PER_SENDER {
            let events = tenants.iter().cycle().take(BATCH).map(|tenant| {
                started = started.saturating_add(BETWEEN_CALLS);
                tenant.call(fixture, started)
            });
            work.push(events.collect::<Vec<_>>());
        }
        let parts: Vec<Vec<_>> = work.chunks(BATCHES_PER_SENDER).map(<[_]>::to_vec).collect();
        let begun = Instant::now();
        let mut tasks = JoinSet::new();
        for part in parts {
            let store = fixture.store.clone();
            tasks.spawn(async move {
                for batch in part {
                    let inserted = store.usage_insert(&batch).await.expect("stored").inserted;
                    assert_eq!(inserted as usize, BATCH);
                }
            });
        }
        tasks.join_all().await;
        let count = senders * BATCHES_PER_SENDER * BATCH;
        let rate = count as f64 / begun.elapsed().as_secs_f64();
        println!(
            "{:>8}: {count} events in batches of {BATCH} of {organizations} organization(s) from {senders} sender(s): {rate:.0} events/s",
            fixture.store.backend()
        );
    }
}
