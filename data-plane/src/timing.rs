//! How long a call takes here, and how much of that is waiting for somebody else.

use std::{
    cell::Cell,
    io::Write as _,
    time::{Duration, Instant},
};

use http::HeaderValue;

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

    /// What is waited for here is not the worker's own time.
    pub(crate) async fn waiting<T>(&self, for_others: impl Future<Output = T>) -> T {
        let since = Instant::now();
        let came = for_others.await;
        self.waited.set(self.waited.get() + since.elapsed());
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
