//! Turns of a core: calls that are ready at once are carried on together, a step of each at a time.
//!
//! A call runs through several times as much code as a processor's first cache holds (here 142 KB, and 32 KiB). Carried on from end to end, each call would fetch all of it anew; a step at a time, the
//! first call fetches what the others find there.

use std::{cell::Cell, future::poll_fn, task::Poll};

thread_local! {
    static UNDER_WAY: Cell<usize> = const { Cell::new(0) };
    static GIVES_WAY: Cell<bool> = const { Cell::new(false) };
}

/// A call that is under way on this thread's core, until it is dropped.
#[derive(Debug)]
pub struct UnderWay(());

impl UnderWay {
    /// From now on.
    #[expect(clippy::new_without_default, reason = "it counts")]
    pub fn new() -> Self {
        UNDER_WAY.with(|calls| calls.set(calls.get() + 1));
        Self(())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        UNDER_WAY.with(|calls| calls.set(calls.get().saturating_sub(1)));
    }
}

/// Between two steps: lets the core's other tasks that are ready take theirs. A call that is alone goes on at once.
pub async fn give_way() {
    give_way_if(UNDER_WAY.get() > 1).await;
}

/// The same, where there is a reason to.
pub async fn give_way_if(mut has_reason: bool) {
    poll_fn(|cx| {
        if std::mem::take(&mut has_reason) {
            // Behind those that are ready, and before the core looks for what else has become so.
            cx.waker().wake_by_ref();
            GIVES_WAY.set(true);
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
}

/// Polls, and says whether what was polled gives way: then it is woken already, and what waits beside it need not be looked at before it is polled again.
pub fn polled<T>(poll: impl FnOnce() -> T) -> (T, bool) {
    GIVES_WAY.set(false);
    let polled = poll();
    (polled, GIVES_WAY.get())
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use super::*;

    /// What calls do that begin at once, two steps each.
    async fn steps(calls: &[char]) -> String {
        let done = Rc::new(RefCell::new(String::new()));
        let run = |call: char| {
            let (done, under_way) = (Rc::clone(&done), UnderWay::new());
            async move {
                done.borrow_mut().push(call);
                give_way().await;
                done.borrow_mut().push(call);
                drop(under_way);
            }
        };
        let tasks = tokio::task::LocalSet::new();
        for call in calls {
            tasks.spawn_local(run(*call));
        }
        tasks.await;
        done.take()
    }

    #[tokio::test]
    async fn calls_that_are_ready_take_the_same_step_one_after_the_other() {
        assert_eq!(steps(&['a', 'b', 'c']).await, "abcabc");
    }

    #[tokio::test]
    async fn a_call_that_is_alone_goes_on_at_once() {
        assert_eq!(steps(&['a']).await, "aa");
        let mut one = std::pin::pin!(async {
            let _under_way = UnderWay::new();
            give_way().await;
        });
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(one.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn who_gives_way_is_told_from_who_waits() {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut one = std::pin::pin!(async {
            give_way_if(true).await;
            give_way_if(false).await;
            std::future::pending::<()>().await;
        });
        assert_eq!(polled(|| one.as_mut().poll(&mut context)), (Poll::Pending, true));
        assert_eq!(polled(|| one.as_mut().poll(&mut context)), (Poll::Pending, false), "it waits now");
        let _others = give_way_if(true);
        assert_eq!(polled(|| ()), ((), false), "nobody was polled");
    }
}
