use std::{
    future::pending,
    io,
    task::{Context, Poll},
    time::Duration,
};

use bailiwick_runtime::http1::Line;
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use tokio::{
    join,
    time::{Instant, sleep},
};

use super::*;
use crate::memory::Budget;

const BOUND: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn a_provider_that_takes_nothing_for_long_is_late() {
    let begun = Instant::now();
    assert_eq!(Progress::begin().answered_within(BOUND, pending::<()>()).await, None);
    assert_eq!(begun.elapsed(), BOUND);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_goes_on_taking_is_waited_for_and_then_as_long_once_more() {
    let (progress, begun) = (Progress::begin(), Instant::now());
    let taking = async {
        for _ in 0..5 {
            sleep(BOUND * 9 / 10).await;
            progress.moves();
        }
    };
    let (answered, ()) = join!(progress.answered_within(BOUND, sleep(BOUND * 5)), taking);
    assert_eq!(answered, Some(()));
    assert_eq!(progress.answered_within(BOUND, pending::<()>()).await, None);
    assert_eq!(begun.elapsed(), BOUND * 45 / 10 + BOUND);
}

#[tokio::test(start_paused = true)]
async fn while_its_caller_is_waited_for_no_provider_is_late() {
    let (progress, begun) = (Progress::begin(), Instant::now());
    progress.waits();
    let caller = async {
        sleep(BOUND * 10).await;
        progress.moves();
    };
    let (answered, ()) = join!(progress.answered_within(BOUND, pending::<()>()), caller);
    assert_eq!((answered, begun.elapsed()), (None, BOUND * 11));
}

/// A form on its way here, as far as its model and what is held behind that. All of it is there to be read; of what was announced beyond it, nothing comes.
pub(crate) async fn begun(form: &[u8], announced: usize) -> Upload {
    /// What has come, and how much is to come.
    struct Coming(RefCell<Bytes>, Cell<usize>);
    impl Line for Coming {
        fn poll_body(&self, _cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
            let Self(here, left) = self;
            let piece = here.borrow().len().min(16 << 10);
            if piece == 0 {
                return Poll::Pending;
            }
            left.set(left.get() - piece);
            Poll::Ready(Ok(Some(here.borrow_mut().split_to(piece))))
        }

        fn is_read(&self) -> bool {
            self.1.get() == 0
        }
    }
    let coming = Rc::new(Coming(Bytes::copy_from_slice(form).into(), announced.into()));
    let body = RequestBody::new(Bytes::new(), Some(announced as u64), Some(coming));
    let content_type = HeaderValue::from_static("multipart/form-data; boundary=XX");
    let hold = Budget::new(1 << 20, 1).share().hold();
    Upload::begin(body, &content_type, 1 << 20, hold).await.unwrap().0
}

#[tokio::test]
async fn what_is_still_to_come_goes_to_who_is_called_next_alone() {
    let part = |name: &str, value: &str| {
        format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let form =
        [part("model", "m"), part("file", &"x".repeat(4 * HELD_BEHIND_MODEL)), "--XX--\r\n".to_owned()];
    let form = form.concat();
    let upload = begun(form.as_bytes(), form.len()).await;
    let (mut first, mut came) = (upload.body("m"), 0);
    upload.reclaim();
    let second = upload.body("m");
    // The first, which is still on its way, gets what was held and waits for ever.
    while let Some(frame) = first.frame().now_or_never() {
        came += frame.unwrap().unwrap().into_data().unwrap().len();
    }
    assert!((HELD_BEHIND_MODEL..2 * HELD_BEHIND_MODEL).contains(&came), "{came}");
    let whole = tokio::time::timeout(BOUND, second.collect()).await.expect("it has what was to come");
    assert_eq!(whole.unwrap().to_bytes(), form.as_bytes());
    // Now it is gone, and nobody takes a part for the whole.
    assert!(!upload.can_be_sent());
    assert!(upload.body("m").collect().await.is_err());
}
