//! A steady load for long, through router and worker: whether anything fails, whether every call is metered, once, and whether memory grows.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use bailiwick_proto::admin::v1::UsageRow;
use bailiwick_tests::{admin::Admin, installation::Region};
use serde::Serialize;

use crate::{
    load::{self, Figures},
    process::Processes,
    provider::{COMPLETION_TOKENS, PROMPT_TOKENS},
    subject::{REGION, Subject},
};

/// Part of the capacity that is asked for.
const LOAD: f64 = 0.7;
/// Of the measurement of that capacity.
const PROBE: Duration = Duration::from_secs(10);
/// Between two looks at the memory.
const LOOK: Duration = Duration::from_secs(10);
/// What a process may take more at the end than after a third of the time.
const SLACK_BYTES: u64 = 16 << 20;
/// Usage has come to rest when it stands still for so long.
const AT_REST: Duration = Duration::from_secs(10);
const LONGEST_REST: Duration = Duration::from_secs(600);

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Requests a second without a pause, before.
    capacity: f64,
    /// Of the load.
    load: Figures,
    /// Calls that were answered, those of the measured capacity with them.
    answered: u64,
    /// What the control plane says that they used.
    metered: Metered,
    memory: Vec<Memory>,
}

#[derive(Debug, Serialize)]
struct Metered {
    calls: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
}

/// Bytes that a process took.
#[derive(Debug, Serialize)]
struct Memory {
    process: String,
    after_a_third: u64,
    at_the_end: u64,
    most: u64,
}

/// Loads it for so long. Errors: what did not hold, in words.
pub fn run(subject: &Subject, connections: usize, bound: Duration) -> anyhow::Result<Report> {
    let ways = subject.ways();
    let target = &ways.last().context("router and worker are a way")?.target;
    let region = subject.region()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let before = runtime.block_on(at_rest(&region))?;
    let probe = load::closed(target, "", connections, PROBE)?;
    let rate = LOAD * probe.requests_per_second;
    eprintln!(
        "{:.0} requests/s are the capacity; {rate:.0} for {} s …",
        probe.requests_per_second,
        bound.as_secs()
    );
    let (ended, watching) = watch(&region, bound);
    let load = load::open(target, connections, rate, bound);
    drop(ended);
    let memory = watching.join().expect("it does not panic");
    let load = load?;
    let after = runtime.block_on(at_rest(&region))?;
    let metered = Metered {
        calls: after.calls - before.calls,
        prompt_tokens: after.prompt_tokens - before.prompt_tokens,
        completion_tokens: after.completion_tokens - before.completion_tokens,
    };
    let answered = probe.requests + load.requests;
    Ok(Report { capacity: probe.requests_per_second, load, answered, metered, memory })
}

/// The organization's usage, once it stands still.
async fn at_rest(region: &Region) -> anyhow::Result<UsageRow> {
    let admin = Admin::of(REGION, region);
    let (begun, mut before) = (Instant::now(), admin.total(&region.organization).await);
    loop {
        tokio::time::sleep(AT_REST).await;
        let now = admin.total(&region.organization).await;
        if now.calls == before.calls && now.calls > 0 {
            return Ok(now);
        }
        anyhow::ensure!(begun.elapsed() < LONGEST_REST, "usage goes on: {} calls", now.calls);
        before = now;
    }
}

/// Looks at the memory until the sender is dropped.
fn watch(region: &Region, bound: Duration) -> (mpsc::Sender<()>, thread::JoinHandle<Vec<Memory>>) {
    let processes: Vec<_> =
        region.processes.all().map(|process| (process.name.clone(), process.pid.unsigned_abs())).collect();
    let (ended, end) = mpsc::channel();
    let watching = thread::spawn(move || {
        let begun = Instant::now();
        let mut seen: Vec<Memory> = processes
            .iter()
            .map(|(name, _)| Memory { process: name.clone(), after_a_third: 0, at_the_end: 0, most: 0 })
            .collect();
        while end.recv_timeout(LOOK) == Err(mpsc::RecvTimeoutError::Timeout) {
            let is_early = begun.elapsed() < bound / 3;
            for ((_, pid), memory) in processes.iter().zip(&mut seen) {
                let bytes = Processes::of(&[*pid]).memory_bytes();
                memory.most = memory.most.max(bytes);
                memory.at_the_end = bytes;
                if is_early || memory.after_a_third == 0 {
                    memory.after_a_third = bytes;
                }
            }
            let text: Vec<_> =
                seen.iter().map(|memory| format!("{} {}", memory.process, memory.at_the_end >> 20)).collect();
            eprintln!("{:>6} s: MiB {}", begun.elapsed().as_secs(), text.join(", "));
        }
        seen
    });
    (ended, watching)
}

impl Report {
    /// For people.
    pub fn print(&self) {
        let Figures { requests_per_second, requests, p50_micros, p99_micros, p999_micros, errors } =
            self.load;
        println!(
            "capacity {:.0} requests/s; load {requests_per_second:.0}/s, {requests} requests, {errors} errors",
            self.capacity
        );
        println!("latency p50 {p50_micros:.0} µs, p99 {p99_micros:.0} µs, p99.9 {p999_micros:.0} µs");
        let Metered { calls, prompt_tokens, completion_tokens } = self.metered;
        println!(
            "{} answered; metered {calls} calls, {prompt_tokens} + {completion_tokens} tokens",
            self.answered
        );
        for Memory { process, after_a_third, at_the_end, most } in &self.memory {
            println!(
                "{process}: {} MiB after a third, {} MiB at the end, {} MiB at most",
                after_a_third >> 20,
                at_the_end >> 20,
                most >> 20
            );
        }
    }

    /// Errors: what did not hold.
    pub fn judge(&self) -> anyhow::Result<()> {
        let Metered { calls, prompt_tokens, completion_tokens } = self.metered;
        anyhow::ensure!(self.load.errors == 0, "there were {} errors", self.load.errors);
        anyhow::ensure!(calls == self.answered, "{} calls were answered, {calls} metered", self.answered);
        let tokens = (calls * PROMPT_TOKENS, calls * COMPLETION_TOKENS);
        anyhow::ensure!((prompt_tokens, completion_tokens) == tokens, "{tokens:?} tokens were used");
        for Memory { process, after_a_third, at_the_end, .. } in &self.memory {
            anyhow::ensure!(*at_the_end < after_a_third + SLACK_BYTES, "the memory of {process} grew");
        }
        Ok(())
    }
}
