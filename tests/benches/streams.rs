//! Streams: when their first byte comes, how evenly they come, and what thousands of them take that say nothing.

use std::time::{Duration, Instant};

use anyhow::Context;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::{
    http::{Connection, Target},
    load::on_one_thread,
    provider::{IDLE, PACED, SHORT, now_nanos},
};

/// Streams that are opened side by side.
const OPENING: usize = 128;
/// What stands before the time at which a chunk was sent.
const STAMP: &[u8] = b"\"content\":\"";
const DIGITS: usize = 20;

/// Median time to the first byte of a stream's content, one after the other; microseconds.
pub fn first_byte(target: &Target, bound: Duration) -> anyhow::Result<f64> {
    on_one_thread(async {
        let (start, request) = (Instant::now(), target.request(SHORT));
        let mut connection = Connection::open(&target.address).await?;
        let mut latencies = Histogram::<u64>::new(3)?;
        while start.elapsed() < bound {
            let begun = Instant::now();
            connection.begin(&request).await?;
            let (mut first, mut last) = (None, Vec::new());
            while !last.ends_with(b"0\r\n\r\n") {
                let piece = connection.piece().await?;
                if first.is_none() && has(piece, b"data: ") {
                    first = Some(begun.elapsed());
                }
                last.extend_from_slice(piece);
                last.drain(..last.len().saturating_sub(8));
            }
            latencies.record(u64::try_from(first.context("a stream")?.as_nanos())?)?;
        }
        Ok(latencies.value_at_quantile(0.5) as f64 / 1e3)
    })
}

fn has(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// The largest time, of all but one in a thousand, by which the pause between two chunks of a fast stream grew on its way; microseconds.
pub fn gap(target: &Target, bound: Duration) -> anyhow::Result<f64> {
    on_one_thread(async {
        let start = Instant::now();
        let mut connection = Connection::open(&target.address).await?;
        connection.begin(&target.request(PACED)).await?;
        let mut gaps = Histogram::<u64>::new(3)?;
        let (mut rest, mut before) = (Vec::new(), None);
        while start.elapsed() < bound {
            rest.extend_from_slice(connection.piece().await?);
            let now = now_nanos();
            while let Some(at) = rest.windows(STAMP.len()).position(|window| window == STAMP) {
                let stamp = at + STAMP.len()..at + STAMP.len() + DIGITS;
                let Some(digits) = rest.get(stamp.clone()) else { break };
                let sent: u64 = std::str::from_utf8(digits)?.parse()?;
                let delay = now.saturating_sub(sent);
                if let Some(before) = before.replace(delay) {
                    gaps.record(delay.saturating_sub(before))?;
                }
                rest.drain(..stamp.end);
            }
        }
        anyhow::ensure!(gaps.len() > 100, "the stream did not go on");
        Ok(gaps.value_at_quantile(0.999) as f64 / 1e3)
    })
}

/// Holds so many streams that have begun and say little or nothing, and asks `measure` meanwhile. Where they are `slow`, each has to go on afterwards.
pub fn idle<T>(target: &Target, streams: usize, slow: bool, measure: impl Fn() -> T) -> anyhow::Result<T> {
    on_one_thread(async {
        let (mut opening, mut open) = (JoinSet::new(), Vec::with_capacity(streams));
        for started in 0..streams {
            if started >= OPENING {
                open.push(opening.join_next().await.context("one is opening")???);
            }
            let (address, request) = (target.address.clone(), target.request(IDLE));
            opening.spawn_local(async move {
                let mut connection = Connection::small(&address).await?;
                connection.begin(&request).await?;
                while !has(connection.piece().await?, b"data: ") {}
                anyhow::Ok(connection)
            });
        }
        while let Some(opened) = opening.join_next().await {
            open.push(opened??);
        }
        let measured = measure();
        for connection in open.iter_mut().filter(|_| slow) {
            while !has(connection.piece().await.context("a stream was cut")?, b"data: ") {}
        }
        drop(open);
        Ok(measured)
    })
}
