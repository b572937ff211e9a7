//! A client of HTTP/1.1 (RFC 9112) for what stands on the path of tenants' calls: connections that serve one call at a time, each driven by its call.
//!
//! A library's client has a task for each connection, and ways between it and the call, which a call pays for. Nothing is read ahead of the caller here, and of a body that is still
//! coming nothing is taken that the other end does not take.
//!
//! One core has [`Lines`]; whoever dials gives them a stream, and keeps the [`Line`] that it becomes. `line` moves bytes, `request` says which.

mod line;
mod request;

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{MissedTickBehavior, interval};

pub use self::line::{Failed, Line};
pub use self::request::OutgoingRequest;
use crate::http1::stock::Stock;

/// How often lines are looked at, at most and at least. A call waits for a sixteenth longer than it must, or for so long.
const SWEEPS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// What goes out behind a request's head.
pub trait Payload: Body<Data = Bytes> + Default + Unpin {
    /// All of it, where all of it is here. It stays with the request then, whatever becomes of the call.
    fn whole(&self) -> Option<&Bytes>;

    /// The other end takes no more of it, so nobody waits for what is still to come.
    fn refused(&self) {}
}

impl Payload for crate::http1::Body {
    fn whole(&self) -> Option<&Bytes> {
        Self::whole(self)
    }
}

/// One core's lines. What takes too long on one is found now and then, which costs a call no timer.
pub struct Lines<S, B> {
    stock: Rc<Stock>,
    every: Duration,
    /// Sweeps that a call may wait for.
    longest_wait: u32,
    longest_rest: u32,
    /// Sweeps since the core began.
    now: Rc<Cell<u32>>,
    open: RefCell<Vec<Weak<Line<S, B>>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static, B: Payload + 'static> Lines<S, B> {
    /// An answer may take about `longest_wait` to begin, and a line may rest for about `longest_rest`.
    pub fn new(longest_wait: Duration, longest_rest: Duration) -> Self {
        let every = (longest_wait / 16).clamp(SWEEPS.0, SWEEPS.1);
        let sweeps =
            |time: Duration| u32::try_from(time.as_millis().div_ceil(every.as_millis())).unwrap_or(u32::MAX);
        Self {
            stock: Stock::of_this_core(),
            every,
            longest_wait: sweeps(longest_wait),
            longest_rest: sweeps(longest_rest),
            now: Rc::default(),
            open: RefCell::default(),
        }
    }

    /// A line over a connection that nothing was said on.
    pub fn open(&self, stream: S) -> Rc<Line<S, B>> {
        let line = Rc::new(Line::new(stream, Rc::clone(&self.stock), Rc::clone(&self.now)));
        self.open.borrow_mut().push(Rc::downgrade(&line));
        line
    }

    /// Ends the waiting of calls that wait for too long, and hangs up what has rested for long or was closed at the other end. `behind` is called after each time. Never ends.
    pub async fn sweep(&self, behind: impl Fn()) {
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let _tick = ticks.tick().await;
            self.sweep_once();
            behind();
        }
    }

    fn sweep_once(&self) {
        let now = self.now.get().saturating_add(1);
        self.now.set(now);
        self.open.borrow_mut().retain(|line| {
            let Some(line) = line.upgrade() else { return false };
            line.sweep(self.longest_wait, self.longest_rest);
            !line.is_closed()
        });
    }
}
