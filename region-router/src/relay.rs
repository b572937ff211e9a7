//! Wakes whoever drives a connection.
//!
//! A connection has no task of its own: the call on it polls it, and is polled itself by the caller's connection. What happens inside goes to and fro between the parts of
//! one library, each of which would wake the other's task; here all of them belong to one, which is running when they do. So they wake the relay: it notes that there is
//! something to do, and wakes a task only when none is at it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::task::AtomicWaker;

/// What the parts of a connection wake.
pub(crate) struct Relay {
    waker: Waker,
    state: Arc<State>,
}

struct State {
    driver: AtomicWaker,
    is_driven: AtomicBool,
    is_woken: AtomicBool,
}

impl Relay {
    /// Of something that was never polled, so there is something to do.
    pub(crate) fn new() -> Self {
        let state = Arc::new(State {
            driver: AtomicWaker::new(),
            is_driven: AtomicBool::new(false),
            is_woken: AtomicBool::new(true),
        });
        Self { waker: Waker::from(Arc::clone(&state)), state }
    }

    /// Polls as often as there is something to do, until `poll` is ready. Pending: the task of `cx` is woken when there is something again.
    pub(crate) fn drive<T>(
        &self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        loop {
            if !self.take_woken() {
                self.state.driver.register(cx.waker());
                // Asked again: what came before the driver was known has woken nobody.
                if !self.is_woken() {
                    return Poll::Pending;
                }
                continue;
            }
            if let Poll::Ready(value) = self.poll_once(&mut poll) {
                return Poll::Ready(value);
            }
        }
    }

    /// Polls once, whether there is something to do or not.
    pub(crate) fn poll_once<T>(&self, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        self.state.is_driven.store(true, Ordering::SeqCst);
        let polled = poll(&mut Context::from_waker(&self.waker));
        self.state.is_driven.store(false, Ordering::SeqCst);
        polled
    }

    /// Whether something has happened since it was polled.
    pub(crate) fn is_woken(&self) -> bool {
        self.state.is_woken.load(Ordering::SeqCst)
    }

    pub(crate) fn take_woken(&self) -> bool {
        self.is_woken() && self.state.is_woken.swap(false, Ordering::SeqCst)
    }

    /// There is something to do that its parts know nothing of.
    pub(crate) fn wake(&self) {
        self.waker.wake_by_ref();
    }

    /// Nobody drives it any more: what happens from now on wakes no task.
    pub(crate) fn rest(&self) {
        drop(self.state.driver.take());
    }
}

impl Wake for State {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        if !self.is_driven.load(Ordering::SeqCst) {
            self.driver.wake();
        }
    }
}

#[cfg(test)]
mod tests;
