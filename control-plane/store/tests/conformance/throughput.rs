//! How fast usage is taken in. A measurement, not a test: it asserts nothing about time.

use std::time::Instant;

use bailiwick_core::ports::store::Store;
use tokio::task::JoinSet;

use crate::{
    fixture::{Fixture, NOW},
    samples::Tenant,
};

const BATCH: usize = 1000;
const BATCHES_PER_SENDER: usize = 25;

pub(crate) async fn usage_insert_throughput(fixture: &Fixture) {
    let mut tenants = Vec::new();
    for _ in 0..20 {
        tenants.push(Tenant::stored(fixture).await);
    }
    for senders in [1_usize, 4] {
        let mut work = Vec::new();
        for _ in 0..senders * BATCHES_PER_SENDER {
            let events = tenants.iter().cycle().take(BATCH).map(|tenant| tenant.call(fixture, NOW));
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
            "{:>8}: {count} events in batches of {BATCH} from {senders} sender(s): {rate:.0} events/s",
            fixture.store.backend()
        );
    }
}
