use std::sync::atomic::{AtomicU32, Ordering};

use bailiwick_coordination::InProcess;
use bailiwick_core::records::Revision;
use bailiwick_domain::time::{ManualClock, Timestamp};

use super::*;

fn runner() -> Runner {
    Runner {
        coordination: Arc::new(InProcess::new(Revision(0))),
        clock: Arc::new(ManualClock::at(Timestamp::from_micros(7_000_000))),
        metrics: TaskMetrics::default(),
        stop: CancellationToken::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_is_tried_again_and_shows_both() {
    let runner = runner();
    let (metrics, stop) = (runner.metrics.clone(), runner.stop.clone());
    let runs = AtomicU32::new(0);
    let work = || {
        let run = runs.fetch_add(1, Ordering::SeqCst);
        if run == 2 {
            stop.cancel();
        }
        async move { if run == 0 { Err(anyhow::anyhow!("not yet")) } else { Ok(()) } }
    };
    runner.run("job", Scope::Region, Duration::from_secs(60), work).await;
    let label = Job { job: "job" };
    assert_eq!(metrics.failures.get_or_create(&label).get(), 1);
    assert!(metrics.runs.get_or_create(&label).get() >= 2);
    assert_eq!(metrics.last_success.get_or_create(&label).get(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_regions_job_runs_on_one_replica_at_a_time() {
    let (first, stop) = (runner(), CancellationToken::new());
    let second = Runner { stop: stop.clone(), ..first.clone() };
    let (leads, waits) = (AtomicU32::new(0), AtomicU32::new(0));
    let count = |counter: &AtomicU32| {
        counter.fetch_add(1, Ordering::SeqCst);
        async { Ok(()) }
    };
    let one = first.run("job", Scope::Region, Duration::from_secs(1), || count(&leads));
    let other = second.run("job", Scope::Region, Duration::from_secs(1), || count(&waits));
    let _ = tokio::time::timeout(Duration::from_secs(10), async { tokio::join!(one, other) }).await;
    assert!(leads.load(Ordering::SeqCst) > 5);
    assert_eq!(waits.load(Ordering::SeqCst), 0);
}
