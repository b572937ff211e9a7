//! Requests that go out together.
//!
//! A call's record is on disk before its first byte goes out (R10). Were each written when it is made, each would cost a write to the disk; those of one turn of the event loop wait for each other here, and
//! the first that goes out takes all their records with it.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

use tokio::task::coop;

use super::Line;

/// One core's.
#[derive(Clone, Default)]
pub(super) struct Outbox(Rc<Queue>);

#[derive(Default)]
struct Queue {
    /// As many as calls are open, at the most.
    lines: RefCell<Vec<Rc<Line>>>,
    /// Wakes who writes them.
    writer: RefCell<Option<Waker>>,
    has_writer: Cell<bool>,
}

impl Outbox {
    /// Has it written at the end of this turn.
    pub(super) fn push(&self, line: &Rc<Line>) {
        let Self(queue) = self;
        queue.lines.borrow_mut().push(Rc::clone(line));
        if !queue.has_writer.replace(true) {
            // It ends with this core's runtime.
            drop(tokio::task::spawn_local(Self::write(Rc::clone(queue))));
        } else if let Some(writer) = queue.writer.take() {
            writer.wake();
        }
    }

    /// Writes what is there, again and again. All of it in one go, because it is no more than a write for each.
    async fn write(queue: Rc<Queue>) {
        let mut written = Vec::new();
        coop::unconstrained(poll_fn(|cx| {
            queue.writer.replace(Some(cx.waker().clone()));
            // The room of the last ones is the next ones'.
            std::mem::swap(&mut written, &mut queue.lines.borrow_mut());
            written.drain(..).for_each(|line: Rc<Line>| line.write_queued());
            Poll::Pending
        }))
        .await
    }
}
