//! What is measured, in which order: each measurement of every way to the provider, one after the other, and what is compared most in several rounds, so that what changes on the machine meanwhile
//! meets all of them alike.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::Serialize;

use crate::{
    load::{self, Figures, Seen},
    provider::SHORT,
    streams,
    subject::{Subject, Through},
};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Measurement {
    /// Requests per second under load, processor time of each, and memory afterwards.
    Requests,
    /// Latencies of one connection.
    Latency,
    /// Latencies at 70 % of the capacity that `requests` found.
    Loaded,
    /// Streams per second.
    Streams,
    /// Time to the first byte of a stream.
    FirstByte,
    /// The largest gap that is added between two chunks of a fast stream.
    Gaps,
    /// Memory at thousands of idle streams.
    Idle,
    /// The worker with few and with very many keys.
    Keys,
}

/// Part of the capacity at which latencies are measured under load.
const LOAD: f64 = 0.7;

/// Every way has its turn so often: a machine that others use as well is faster at one time than at another, by a sixth within a minute. How far the rounds differ says what a ratio is worth.
const ROUNDS: u32 = 10;

/// How.
pub struct Plan {
    /// What, or all.
    pub only: Vec<Measurement>,
    /// Of each measurement.
    pub bound: Duration,
    /// Under load.
    pub connections: usize,
    /// Idle ones, held at once.
    pub streams: usize,
    /// The same of those that take two files each of what serves them.
    pub most_streams: usize,
    /// Numbers of keys.
    pub keys: Vec<u64>,
}

/// One measurement.
enum Step {
    /// Of one way.
    Each(fn(&Plan, &Through, &mut Row) -> anyhow::Result<()>),
    /// Of all.
    All(fn(&Plan, &[Through], &mut [Row]) -> anyhow::Result<()>),
}

/// One way's figures; what was not measured is left out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// The way.
    pub through: &'static str,
    /// Under load, as fast as it goes.
    pub requests: Option<Figures>,
    /// The same by rounds: requests per second in each.
    pub requests_by_rounds: Vec<f64>,
    /// Microseconds of processors for each request, of what serves it.
    pub processor_micros: Option<f64>,
    /// Bytes in use after the load.
    pub memory_bytes: Option<u64>,
    /// One connection.
    pub alone: Option<Figures>,
    /// At 70 % of the capacity, from when a request should have been sent.
    pub loaded: Option<Figures>,
    /// Under load: short streams, read to their ends.
    pub streams: Option<Figures>,
    /// Median time to the first byte of a stream's content, one connection.
    pub first_byte_micros: Option<f64>,
    /// 99.9 in a hundred are smaller.
    pub gap_micros: Option<f64>,
    /// How many idle streams there were.
    pub idle_streams: Option<usize>,
    /// Bytes in use while they were held.
    pub idle_memory_bytes: Option<u64>,
}

/// What all rounds of a way have seen.
struct Rounds {
    seen: Seen,
    /// Requests per second in each.
    rates: Vec<f64>,
    /// Of processors, for what serves the way.
    took: Duration,
}

/// The worker with so many keys.
#[derive(Clone, Debug, Serialize)]
pub struct KeysRow {
    /// In its region.
    pub keys: u64,
    /// From the start of its process until it serves.
    pub start_seconds: f64,
    /// Bytes in use after the load.
    pub memory_bytes: u64,
    /// Under load.
    pub requests: Figures,
    /// One connection.
    pub alone: Figures,
}

impl Plan {
    fn wants(&self, measurement: Measurement) -> bool {
        self.only.is_empty() || self.only.contains(&measurement)
    }

    /// Measures every way, with one worker.
    pub fn ways(&self, subject: &Subject) -> anyhow::Result<Vec<Row>> {
        subject.leave_one_worker()?;
        let ways = subject.ways();
        let mut rows: Vec<Row> = ways.iter().map(|way| Row { through: way.name, ..Row::default() }).collect();
        let steps: [(Measurement, Step); 7] = [
            (Measurement::Requests, Step::All(Self::requests)),
            (Measurement::Latency, Step::All(Self::latency)),
            (Measurement::Loaded, Step::Each(Self::loaded)),
            (Measurement::Streams, Step::Each(Self::streams)),
            (Measurement::FirstByte, Step::Each(Self::first_byte)),
            (Measurement::Gaps, Step::Each(Self::gaps)),
            (Measurement::Idle, Step::Each(Self::idle)),
        ];
        for (measurement, step) in steps.into_iter().filter(|(measurement, _)| self.wants(*measurement)) {
            match step {
                Step::Each(step) => {
                    for (way, row) in ways.iter().zip(&mut rows) {
                        eprintln!("{measurement:?}: {} …", way.name);
                        step(self, way, row)?;
                    }
                }
                Step::All(step) => {
                    eprintln!(
                        "{measurement:?}: {} in turn …",
                        ways.iter().map(|way| way.name).collect::<Vec<_>>().join(", ")
                    );
                    step(self, &ways, &mut rows)?;
                }
            }
        }
        Ok(rows)
    }

    /// What every way does under load, and the time that processors took for it.
    fn rounds(&self, ways: &[Through], connections: usize) -> anyhow::Result<Vec<Rounds>> {
        let none = || Rounds { seen: Seen::new(), rates: Vec::new(), took: Duration::ZERO };
        let mut all: Vec<Rounds> = ways.iter().map(|_| none()).collect();
        for _ in 0..ROUNDS {
            for (way, Rounds { seen, rates, took }) in ways.iter().zip(&mut all) {
                // Connections are opened and pools are filled before anything counts.
                load::closed(&way.target, "", connections, Duration::from_millis(500))?;
                let before = way.processes.processor_time();
                let round = load::seen(&way.target, "", connections, self.bound / ROUNDS)?;
                *took += way.processes.processor_time().saturating_sub(before);
                rates.push(round.figures().requests_per_second);
                seen.follow(&round)?;
            }
        }
        Ok(all)
    }

    fn requests(&self, ways: &[Through], rows: &mut [Row]) -> anyhow::Result<()> {
        let found = self.rounds(ways, self.connections)?;
        for ((way, row), Rounds { seen, rates, took }) in ways.iter().zip(rows).zip(found) {
            let figures = seen.figures();
            row.processor_micros = Some(took.as_secs_f64() * 1e6 / figures.requests.max(1) as f64);
            row.memory_bytes = Some(way.processes.memory_bytes());
            row.requests = Some(figures);
            row.requests_by_rounds = rates;
        }
        Ok(())
    }

    fn latency(&self, ways: &[Through], rows: &mut [Row]) -> anyhow::Result<()> {
        for (row, rounds) in rows.iter_mut().zip(self.rounds(ways, 1)?) {
            row.alone = Some(rounds.seen.figures());
        }
        Ok(())
    }

    fn loaded(&self, way: &Through, row: &mut Row) -> anyhow::Result<()> {
        let capacity = match row.requests {
            Some(figures) => figures,
            None => load::closed(&way.target, "", self.connections, self.bound)?,
        };
        let rate = LOAD * capacity.requests_per_second;
        row.loaded = Some(load::open(&way.target, self.connections, rate, self.bound)?);
        Ok(())
    }

    fn streams(&self, way: &Through, row: &mut Row) -> anyhow::Result<()> {
        load::closed(&way.target, SHORT, self.connections, Duration::from_millis(300))?;
        row.streams = Some(load::closed(&way.target, SHORT, self.connections, self.bound)?);
        Ok(())
    }

    fn first_byte(&self, way: &Through, row: &mut Row) -> anyhow::Result<()> {
        row.first_byte_micros = Some(streams::first_byte(&way.target, self.bound)?);
        Ok(())
    }

    fn gaps(&self, way: &Through, row: &mut Row) -> anyhow::Result<()> {
        row.gap_micros = Some(streams::gap(&way.target, self.bound)?);
        Ok(())
    }

    fn idle(&self, way: &Through, row: &mut Row) -> anyhow::Result<()> {
        let streams = if way.one_file { self.streams } else { self.streams.min(self.most_streams) };
        row.idle_streams = Some(streams);
        let memory = || way.processes.memory_bytes();
        row.idle_memory_bytes = Some(streams::idle(&way.target, streams, way.is_slow, memory)?);
        Ok(())
    }

    /// Measures the worker with each number of keys.
    pub fn keys(&self, subject: &mut Subject) -> anyhow::Result<Vec<KeysRow>> {
        let mut rows = Vec::new();
        for keys in self.keys.iter().copied().filter(|_| self.wants(Measurement::Keys)) {
            eprintln!("Keys: {keys} …");
            let begun = Instant::now();
            let start_seconds = subject.with_keys(keys)?.as_secs_f64();
            eprintln!("Keys: in place after {} s", begun.elapsed().as_secs());
            let way = subject.worker();
            load::closed(&way.target, "", self.connections, Duration::from_secs(1))?;
            let requests = load::closed(&way.target, "", self.connections, self.bound)?;
            let alone = load::closed(&way.target, "", 1, self.bound)?;
            // What taking the snapshot needed for a moment has been given back by now.
            let memory_bytes = way.processes.memory_bytes();
            rows.push(KeysRow { keys, start_seconds, memory_bytes, requests, alone });
        }
        Ok(rows)
    }
}
