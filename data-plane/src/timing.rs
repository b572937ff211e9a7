//! How long a call takes here, and how much of that is waiting for somebody else.

use std::{
    cell::Cell,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bailiwick_runtime::serving::Fields;
use pin_project_lite::pin_project;
use smallvec::SmallVec;
use tokio::time::{Sleep, sleep};

use crate::error;

/// The header's value takes no more than its text, twenty digits, a point and three more.
const LONGEST_HEADER: usize = 40;

/// What comes within this time; `None`: it did not. Nearly all of a call's pieces are there before they are asked for, and then no timer is set up.
pub(crate) fn within<F: Future>(bound: Duration, awaited: F) -> Within<F> {
    Within { awaited, bound, late: None }
}

pin_project! {
    /// See [`within`]. A type of its own, because an `async fn` keeps what it awaits twice: as it was given, and as it is awaited.
    pub(crate) struct Within<F> {
        #[pin]
        awaited: F,
        bound: Duration,
        #[pin]
        late: Option<Sleep>,
    }
}

impl<F: Future> Future for Within<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let mut this = self.project();
        if let Poll::Ready(came) = this.awaited.poll(context) {
            return Poll::Ready(Some(came));
        }
        if this.late.is_none() {
            this.late.set(Some(sleep(*this.bound)));
        }
        this.late.as_pin_mut().map_or(Poll::Pending, |late| late.poll(context).map(|()| None))
    }
}

pin_project! {
    /// See [`Timing::waiting`].
    pub(crate) struct Waiting<'a, F> {
        timing: &'a Timing,
        #[pin]
        for_others: F,
        since: Option<Instant>,
    }
}

impl<F: Future> Future for Waiting<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        match (this.for_others.poll(context), *this.since) {
            (Poll::Pending, None) => *this.since = Some(Instant::now()),
            (Poll::Ready(came), Some(since)) => {
                this.timing.waited(since.elapsed());
                return Poll::Ready(came);
            }
            (Poll::Ready(came), None) => return Poll::Ready(came),
            (Poll::Pending, Some(_)) => {}
        }
        Poll::Pending
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
    pub(crate) fn waiting<F: Future>(&self, for_others: F) -> Waiting<'_, F> {
        Waiting { timing: self, for_others, since: None }
    }

    /// So long it waited.
    pub(crate) fn waited(&self, time: Duration) {
        self.waited.set(self.waited.get() + time);
    }

    /// The call is taken on: only from then on is it told. How long a refusal took would tell how much of a key is good, and which names others use.
    pub(crate) fn tell(&self) {
        self.is_told.set(true);
    }

    /// Says the worker's own time until now as `Server-Timing` does, in milliseconds; nothing where it is not told. What the provider says of its own time stays beside it.
    pub(crate) fn tell_in(&self, told: &mut Fields) {
        if !self.is_told.get() {
            return;
        }
        let micros = self.begun.elapsed().saturating_sub(self.waited.get()).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        let mut text = SmallVec::<[u8; LONGEST_HEADER]>::from_slice(b"bailiwick;dur=");
        append_millis(&mut text, micros);
        told.add(&error::SERVER_TIMING, &text);
    }
}

/// In milliseconds, to three places. Each answer carries two of these, and the standard library's way to format them costs ten times as much.
fn append_millis(text: &mut SmallVec<[u8; LONGEST_HEADER]>, micros: u64) {
    let mut digits = itoa::Buffer::new();
    text.extend_from_slice(digits.format(micros / 1000).as_bytes());
    // Behind a digit that keeps the zeros in front.
    let places = digits.format(1000 + micros % 1000).as_bytes();
    text.push(b'.');
    text.extend_from_slice(places.get(1..).unwrap_or_default());
}

#[cfg(test)]
mod tests;
