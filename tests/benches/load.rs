//! The load: connections that send one request after the other, for a while.

use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::{net::TcpStream, task::JoinSet};

/// Where requests go.
#[derive(Clone)]
pub struct Target {
    /// `host:port`, plain HTTP.
    pub address: String,
    /// Bearer token.
    pub key: String,
    /// JSON.
    pub body: Bytes,
}

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figures {
    /// Answers with 200, over the time that was measured.
    pub requests_per_second: f64,
    /// Median, from the request's first byte to the answer's last.
    pub p50_micros: u64,
    /// 99 in a hundred are faster.
    pub p99_micros: u64,
    /// 999 in a thousand are faster.
    pub p999_micros: u64,
    /// Answers with another status, and broken connections.
    pub errors: u64,
}

struct Seen {
    latencies: Histogram<u64>,
    errors: u64,
}

/// Sends over so many connections for so long. One thread: what is measured gets the rest of the machine.
pub fn run(target: &Target, connections: usize, bound: Duration) -> anyhow::Result<Figures> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (start, mut clients) = (Instant::now(), JoinSet::new());
        for _ in 0..connections {
            clients.spawn(client(target.clone(), start + bound));
        }
        let mut all = Seen { latencies: histogram()?, errors: 0 };
        while let Some(seen) = clients.join_next().await {
            let seen = seen??;
            all.latencies.add(seen.latencies)?;
            all.errors += seen.errors;
        }
        Ok(figures(&all, start.elapsed()))
    })
}

fn figures(all: &Seen, elapsed: Duration) -> Figures {
    let at = |quantile| all.latencies.value_at_quantile(quantile);
    Figures {
        requests_per_second: all.latencies.len() as f64 / elapsed.as_secs_f64(),
        p50_micros: at(0.5),
        p99_micros: at(0.99),
        p999_micros: at(0.999),
        errors: all.errors,
    }
}

/// Up to a minute, to three digits.
fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

async fn client(target: Target, until: Instant) -> anyhow::Result<Seen> {
    let stream = TcpStream::connect(&target.address).await.with_context(|| target.address.clone())?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await?;
    let connection = tokio::task::spawn(connection);
    let mut seen = Seen { latencies: histogram()?, errors: 0 };
    while Instant::now() < until {
        let request = Request::post("/v1/chat/completions")
            .header("host", &target.address)
            .header("authorization", format!("Bearer {}", target.key))
            .header("content-type", "application/json")
            .body(Full::new(target.body.clone()))?;
        let begun = Instant::now();
        sender.ready().await?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        answer.into_body().collect().await?;
        if status.is_success() {
            seen.latencies.saturating_record(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
        } else {
            seen.errors += 1;
        }
    }
    connection.abort();
    Ok(seen)
}
