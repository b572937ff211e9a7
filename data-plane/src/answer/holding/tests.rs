use std::task::{Context, Poll, Waker};

use bailiwick_proto::worker::v1::CallEnd;
use bailiwick_runtime::{http1, turn::UnderWay};

use super::*;
use crate::{
    memory::Budget,
    metering::{
        Journals, Meter,
        settled::{self, Metered},
        tests::{call, clock, now},
    },
};

const ANSWER: &str = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":70,"total_tokens":79}}"#;

/// How a call is metered that is given up while its answer, which has come whole, is heard; and whether it had been given out by then.
fn given_up(side_by_side: usize) -> (Metered, bool) {
    let folder = tempfile::tempdir().unwrap();
    let mut journals = Journals::open(folder.path(), 1, 1 << 20, now()).unwrap();
    let mut call = Meter::new(journals.writers.pop(), clock()).start(call()).unwrap();
    call.attempts(1);
    let _calls: Vec<_> = (0..side_by_side).map(|_| UnderWay::new()).collect();
    let body = http1::Body::new(Bytes::from_static(ANSWER.as_bytes()), Some(ANSWER.len() as u64), None);
    let mut response = IncomingResponse::default().map(|()| AnswerBody::Left(body));
    let (mut held, timing) = (Budget::new(1 << 20, 1).share().hold(), Timing::begin());
    let is_whole = {
        let hearing = Hearing {
            call: &mut call,
            collected: Collected::begin(Bytes::new()),
            counts: true,
            is_own: true,
        };
        let mut hears =
            pin!(hearing.hear(&mut response, 1 << 10, Duration::from_secs(1), &mut held, &timing));
        let heard = hears.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        matches!(heard, Poll::Ready(Held::Whole(bytes)) if bytes == ANSWER)
    };
    drop(call);
    (settled::events(folder.path()).remove(0), is_whole)
}

#[test]
fn whoever_leaves_in_a_turn_has_used_what_came() {
    let (event, is_whole) = given_up(2);
    assert!(!is_whole, "others are under way, and have their turn");
    assert_eq!(event.end(), CallEnd::CallerLeft);
    assert_eq!((event.prompt_tokens, event.completion_tokens), (9, 70));
}

#[test]
fn an_answer_that_nobody_else_waits_for_is_given_out_at_once() {
    let (event, is_whole) = given_up(1);
    assert!(is_whole);
    // It is another's from there on to count it.
    assert_eq!(event.completion_tokens, 0);
}
