use bailiwick_domain::time::Timestamp;

use super::*;
use crate::metering::Journals;

#[test]
fn the_cores_are_summed_when_somebody_asks() {
    let folder = tempfile::tempdir().unwrap();
    let journals = Journals::open(folder.path(), 2, 1 << 20, Timestamp::from_micros(0)).unwrap();
    let (memory, lent) = (
        Budget::new(1 << 20, 2),
        Arc::new(Lent::new(bailiwick_quota::policy::Policy::default(), Vec::new())),
    );
    let metrics = WorkerMetrics::new(2, SnapshotHandle::default(), journals.account, memory, lent);
    metrics.core(0).answered(StatusCode::OK);
    metrics.core(1).answered(StatusCode::OK);
    metrics.core(1).answered(StatusCode::IM_A_TEAPOT);
    metrics.core(0).upstream_failed(UpstreamFailure::TimedOut);
    metrics.core(0).limit_refused(Measure::TokensPerMinute);
    metrics.core(1).limit_refused(Measure::TokensPerMinute);
    metrics.core(0).limit_waiting(2);
    metrics.core(1).limit_waiting(1);
    metrics.core(7).answered(StatusCode::OK);

    let mut registry = Registry::with_prefix("bailiwick");
    metrics.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        "bailiwick_answers_total{status=\"200\"} 2",
        "bailiwick_answers_total{status=\"418\"} 1",
        "bailiwick_upstream_failures_total{class=\"timed_out\"} 1",
        "bailiwick_upstream_failures_total{class=\"unreachable\"} 0",
        "bailiwick_configuration_revision 0",
        "bailiwick_calls_open 0",
        "bailiwick_usage_unsent_events 0",
        "bailiwick_usage_acknowledged_events_total 0",
        "bailiwick_journal_unwritable 0",
        "bailiwick_journal_disk_failures_total 0",
        "bailiwick_held_bytes 0",
        "bailiwick_held_max_bytes 1048576",
        "bailiwick_overloaded_refusals_total 0",
        "bailiwick_limit_refusals_total{measure=\"tokens_per_minute\"} 2",
        "bailiwick_limit_refusals_total{measure=\"parallel_requests\"} 0",
        "bailiwick_limit_waiting_calls 3",
        "bailiwick_limit_accounts 0",
        "bailiwick_limit_exchange_connected 0",
        "bailiwick_limit_lease_seconds 0.0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
    }
}
