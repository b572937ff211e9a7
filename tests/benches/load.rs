//! The load: connections that send one request after the other, as fast as they are answered or at a fixed rate. One thread: what is measured gets the rest of the
//! machine.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::{
    sync::Semaphore,
    task::{JoinSet, LocalSet},
};

use crate::http::{Connection, Target};

/// The shortest time between two wake-ups at a fixed rate. What falls between is sent together.
const SHORTEST_TICK: Duration = Duration::from_micros(200);

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figures {
    /// Answers with 200, over the time that was measured.
    pub requests_per_second: f64,
    /// How many.
    pub requests: u64,
    /// Median: from the request's first byte, or from when it should have been sent, to the answer's last.
    pub p50_micros: f64,
    /// 99 in a hundred are faster.
    pub p99_micros: f64,
    /// 999 in a thousand are faster.
    pub p999_micros: f64,
    /// Answers with another status.
    pub errors: u64,
}

/// What connections have seen; nanoseconds.
pub struct Seen {
    latencies: Histogram<u64>,
    errors: u64,
    elapsed: Duration,
}

impl Seen {
    /// Up to a minute, to three digits.
    pub fn new() -> Self {
        let latencies = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("good bounds");
        Self { latencies, errors: 0, elapsed: Duration::ZERO }
    }

    /// Notes an answer.
    pub fn note(&mut self, ok: bool, took: Duration) {
        if ok {
            self.latencies.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        } else {
            self.errors += 1;
        }
    }

    /// Takes over what another has seen at the same time.
    pub fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.latencies.add(&other.latencies)?;
        self.errors += other.errors;
        Ok(())
    }

    /// Takes over what another has seen at another time.
    pub fn follow(&mut self, other: &Self) -> anyhow::Result<()> {
        self.elapsed += other.elapsed;
        self.add(other)
    }

    /// The sums.
    pub fn figures(&self) -> Figures {
        let at = |quantile| self.latencies.value_at_quantile(quantile) as f64 / 1e3;
        Figures {
            requests_per_second: self.latencies.len() as f64 / self.elapsed.as_secs_f64(),
            requests: self.latencies.len(),
            p50_micros: at(0.5),
            p99_micros: at(0.99),
            p999_micros: at(0.999),
            errors: self.errors,
        }
    }
}

/// Runs on a thread and a runtime of its own.
pub fn on_one_thread<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, work)
}

/// Sends over so many connections for so long, each as soon as it was answered. `mark`: see [`Target::request`].
pub fn closed(target: &Target, mark: &str, connections: usize, bound: Duration) -> anyhow::Result<Figures> {
    Ok(seen(target, mark, connections, bound)?.figures())
}

/// The same, to be added to more.
pub fn seen(target: &Target, mark: &str, connections: usize, bound: Duration) -> anyhow::Result<Seen> {
    on_one_thread(async {
        let (start, mut clients) = (Instant::now(), JoinSet::new());
        for _ in 0..connections {
            let (address, request) = (target.address.clone(), target.request(mark));
            clients.spawn_local(async move {
                let mut connection = Connection::open(&address).await.context(address)?;
                let mut seen = Seen::new();
                while start.elapsed() < bound {
                    let begun = Instant::now();
                    let ok = connection.exchange(&request).await.context("an answer broke off")?;
                    seen.note(ok, begun.elapsed());
                }
                anyhow::Ok(seen)
            });
        }
        collected(clients, start).await
    })
}

async fn collected(mut clients: JoinSet<anyhow::Result<Seen>>, start: Instant) -> anyhow::Result<Seen> {
    let mut all = Seen::new();
    while let Some(seen) = clients.join_next().await {
        all.add(&seen??)?;
    }
    all.elapsed = start.elapsed();
    Ok(all)
}

/// Sends at a fixed rate, whatever becomes of what was sent before: a request that has to wait for a connection has waited, and its latency says so.
pub fn open(target: &Target, connections: usize, rate: f64, bound: Duration) -> anyhow::Result<Figures> {
    on_one_thread(async {
        let mut ready = Vec::with_capacity(connections);
        for _ in 0..connections {
            ready.push(Connection::open(&target.address).await.with_context(|| target.address.clone())?);
        }
        let schedule = Arc::new(Schedule::of(rate));
        let mut clients = JoinSet::new();
        for mut connection in ready {
            let (request, schedule) = (target.request(""), Arc::clone(&schedule));
            clients.spawn_local(async move {
                let mut seen = Seen::new();
                while let Some(due) = schedule.next().await {
                    let ok = connection.exchange(&request).await.context("an answer broke off")?;
                    seen.note(ok, due.elapsed());
                }
                anyhow::Ok(seen)
            });
        }
        // Beside the runtime, whose own timers count in milliseconds.
        let ticking = thread::spawn({
            let schedule = Arc::clone(&schedule);
            move || schedule.run(bound)
        });
        let seen = collected(clients, schedule.start).await;
        ticking.join().expect("it does not panic");
        Ok(seen?.figures())
    })
}

/// When requests are to be sent.
struct Schedule {
    tick: Duration,
    /// Requests of each tick.
    together: u32,
    start: Instant,
    taken: AtomicU32,
    due: Semaphore,
}

impl Schedule {
    fn of(rate: f64) -> Self {
        let together = (SHORTEST_TICK.as_secs_f64() * rate).ceil().max(1.0);
        Self {
            tick: Duration::from_secs_f64(together / rate),
            together: together as u32,
            start: Instant::now(),
            taken: AtomicU32::new(0),
            due: Semaphore::new(0),
        }
    }

    /// Waits for the next request that is due, and says since when it is. `None`: no more come.
    async fn next(&self) -> Option<Instant> {
        self.due.acquire().await.ok()?.forget();
        Some(self.at(self.taken.fetch_add(1, Relaxed) / self.together + 1))
    }

    fn at(&self, tick: u32) -> Instant {
        self.start + self.tick * tick
    }

    fn run(&self, bound: Duration) {
        for tick in 1.. {
            let due = self.at(tick);
            if due > self.start + bound {
                break;
            }
            thread::sleep(due.saturating_duration_since(Instant::now()));
            self.due.add_permits(self.together as usize);
        }
        self.due.close();
    }
}
