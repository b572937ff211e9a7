//! The figures that are to be reached, and whether they are.

use serde::Serialize;

use crate::measure::{KeysRow, Row};

/// One figure.
#[derive(Debug, Serialize)]
pub struct Target {
    /// What it is.
    pub what: &'static str,
    /// At least, or at most.
    pub wanted: String,
    /// What was measured.
    pub found: f64,
    /// Whether it is reached.
    pub met: bool,
}

const MIB: f64 = (1 << 20) as f64;

/// Those for which everything was measured.
pub fn judge(rows: &[Row], keys: &[KeysRow]) -> Vec<Target> {
    let row = |name: &str| rows.iter().find(|row| row.through == name);
    let (direct, nginx, worker, router) =
        (row("direct"), row("nginx"), row("worker"), row("router + worker"));
    let rate = |row: Option<&Row>| row?.requests.map(|figures| figures.requests_per_second);
    let median = |row: Option<&Row>| row?.alone.map(|figures| figures.p50_micros);
    let micros = |row: Option<&Row>| row?.processor_micros;
    let added = |row: Option<&Row>| Some(median(row)? - median(direct)?);
    let ratio = |one: Option<f64>, other: Option<f64>| Some(one? / other?);
    let (first, last) = (keys.first(), keys.last().filter(|_| keys.len() > 1));
    let per_key = || {
        let (first, last) = (first?, last?);
        let more = last.memory_bytes.saturating_sub(first.memory_bytes) as f64;
        Some(more / (last.keys - first.keys) as f64)
    };
    let gap = || Some((worker?.gap_micros? - direct?.gap_micros?).max(0.0) / 1e3);
    let of_keys = |row: Option<&KeysRow>| row.map(|row| row.requests.requests_per_second);
    let judged = [
        at_least("worker throughput, × nginx", 0.9, ratio(rate(worker), rate(nginx))),
        at_least("router + worker throughput, × nginx", 0.5, ratio(rate(router), rate(nginx))),
        at_most("worker processor time per request, × nginx", 1.3, ratio(micros(worker), micros(nginx))),
        at_most(
            "worker latency added at the median, × what nginx adds",
            1.3,
            ratio(added(worker), added(nginx)),
        ),
        at_most("worker gap added between chunks, p99.9, ms", 2.0, gap()),
        at_most(
            "worker memory at its idle streams, MiB",
            1024.0,
            worker.and_then(|row| Some(row.idle_memory_bytes? as f64 / MIB)),
        ),
        at_least(
            "worker throughput with most keys, × with fewest",
            0.95,
            ratio(of_keys(last), of_keys(first)),
        ),
        at_most("worker memory, bytes a key", 150.0, per_key()),
        at_most("worker start with most keys, s", 5.0, last.map(|row| row.start_seconds)),
    ];
    judged.into_iter().flatten().collect()
}

fn at_least(what: &'static str, bound: f64, found: Option<f64>) -> Option<Target> {
    found.map(|found| Target { what, wanted: format!("≥ {bound}"), found, met: found >= bound })
}

fn at_most(what: &'static str, bound: f64, found: Option<f64>) -> Option<Target> {
    found.map(|found| Target { what, wanted: format!("≤ {bound}"), found, met: found <= bound })
}
