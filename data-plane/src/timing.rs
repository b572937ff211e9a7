//! How long a call takes here, and how much of that is waiting for somebody else.

use std::{
    cell::Cell,
    future::poll_fn,
    io::Write as _,
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use http::HeaderValue;

/// What comes within this time; `None`: it did not. Nearly all of a call's pieces are there before they are asked for, and then no timer is set up.
pub(crate) async fn within<T>(bound: Duration, awaited: impl Future<Output = T>) -> Option<T> {
    let mut awaited = pin!(awaited);
    let at_once = poll_fn(|context| match awaited.as_mut().poll(context) {
        Poll::Ready(came) => Poll::Ready(Some(came)),
        Poll::Pending => Poll::Ready(None),
    });
    match at_once.await {
        Some(came) => Some(came),
        None => tokio::time::timeout(bound, awaited).await.ok(),
    }
}

/// One call's.
pub(crate) struct Timing {
    begun: Instant,
    waited: Cell<Duration>,
    is_told: Cell<bool>,
}

impl Timing {
    /// From now on.
    pub(crate) fn begin() -> Self {
        Self { begun: Instant::now(), waited: Cell::default(), is_told: Cell::default() }
    }

    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// What is waited for here is not the worker's own time. What is there at once costs no look at the clock.
    pub(crate) async fn waiting<T>(&self, for_others: impl Future<Output = T>) -> T {
        let (mut for_others, mut since) = (pin!(for_others), None);
        let came = poll_fn(|context| {
            let polled = for_others.as_mut().poll(context);
            if polled.is_pending() {
                since.get_or_insert_with(Instant::now);
            }
            polled
        });
        let came = came.await;
        if let Some(since) = since {
            self.waited.set(self.waited.get() + since.elapsed());
        }
        came
    }

    /// The call is taken on: only from then on is it told. How long a refusal took would tell how much of a key is good, and which names others use.
    pub(crate) fn tell(&self) {
        self.is_told.set(true);
    }

    /// The worker's own time until now, as `Server-Timing` says it: in milliseconds. `None` when it is not told.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        if !self.is_told.get() {
            return None;
        }
        let micros = self.begun.elapsed().saturating_sub(self.waited.get()).as_micros();
        let mut text = [0_u8; 48];
        let mut rest: &mut [u8] = &mut text;
        write!(rest, "bailiwick;dur={}.{:03}", micros / 1000, micros % 1000).ok()?;
        let left = rest.len();
        HeaderValue::from_bytes(text.get(..text.len() - left)?).ok()
    }
}
