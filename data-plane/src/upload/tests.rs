use std::{future::pending, time::Duration};

use tokio::{
    join,
    time::{Instant, sleep},
};

use super::Progress;

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
