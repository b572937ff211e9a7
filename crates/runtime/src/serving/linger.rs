//! The close that lets a caller read the answer.
//!
//! Closing a socket that has unread bytes sends a reset, which makes the caller's system throw away what it received but
//! did not hand out yet: the answer. A caller that is still sending a body (too large, say) would see a broken connection instead
//! of the 413. So the write side is closed first, and what still comes is read and forgotten, within bounds (compare nginx's
//! `lingering_close`).

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long the caller may send nothing.
const QUIET: Duration = Duration::from_secs(2);

/// How long it may send at all.
const TOTAL: Duration = Duration::from_secs(10);

/// How much it may send.
const MAX_BYTES: usize = 64 * 1024 * 1024;

pub(super) struct Linger {
    left_bytes: usize,
    end: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Linger {
    pub(super) fn begin() -> Self {
        let now = Instant::now();
        Self { left_bytes: MAX_BYTES, end: now + TOTAL, timer: Box::pin(sleep_until(now + QUIET)) }
    }

    /// Ready when the caller has closed, or has had its time.
    pub(super) fn poll(
        &mut self,
        mut stream: Pin<&mut (impl AsyncRead + ?Sized)>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut room = [MaybeUninit::uninit(); 16 * 1024];
        let mut came = 0;
        loop {
            let mut unseen = ReadBuf::uninit(&mut room);
            match stream.as_mut().poll_read(cx, &mut unseen) {
                Poll::Ready(Ok(())) if !unseen.filled().is_empty() => came += unseen.filled().len(),
                Poll::Ready(_closed_or_broken) => return Poll::Ready(()),
                Poll::Pending => break,
            }
            if came > self.left_bytes {
                return Poll::Ready(());
            }
        }
        if came > 0 {
            self.left_bytes -= came;
            self.timer.as_mut().reset(self.end.min(Instant::now() + QUIET));
        }
        self.timer.as_mut().poll(cx)
    }
}
