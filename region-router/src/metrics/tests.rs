use super::*;
use crate::workers::Worker;

#[test]
fn the_cores_are_summed_when_somebody_asks() {
    let workers = Workers::default();
    let metrics = RouterMetrics::new(workers.clone());
    let (one, other) = (metrics.core(), metrics.core());
    one.answered(StatusCode::OK);
    other.answered(StatusCode::CREATED);
    other.answered(StatusCode::MISDIRECTED_REQUEST);
    other.answered(StatusCode::from_u16(999).unwrap());
    one.refused("wrong_region");
    other.refused("wrong_region");
    other.refused("invalid_key");
    one.worker_failed();
    other.worker_failed();
    let worker =
        Worker { name: "worker-1".to_owned(), address: ([127, 0, 0, 1], 1).into(), boot_id: "1".to_owned() };
    workers.store(vec![worker]);

    let mut registry = Registry::with_prefix("bailiwick");
    metrics.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        "bailiwick_router_answers_total{class=\"2xx\"} 2",
        "bailiwick_router_answers_total{class=\"4xx\"} 1",
        "bailiwick_router_answers_total{class=\"5xx\"} 0",
        "bailiwick_router_answers_total{class=\"other\"} 1",
        "bailiwick_router_refusals_total{code=\"wrong_region\"} 2",
        "bailiwick_router_refusals_total{code=\"invalid_key\"} 1",
        "bailiwick_router_worker_failures_total 2",
        "bailiwick_router_workers 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
    }
}
