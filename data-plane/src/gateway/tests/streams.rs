//! Streams: usage in passing, cuts at every place, callers who leave.

use std::time::Duration;

use bailiwick_proto::worker::v1::{CallEnd, UsageSource};
use http_body_util::BodyExt as _;
use tokio::task::JoinSet;

use super::{
    STREAM, STREAM_WITH_USAGE, at,
    provider::{Provider, Then, events},
    world::World,
};
use crate::polling::eventually;

const ONE: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"one\"}}],\"usage\":null}\n\n";
const TWO: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"two\"}}],\"usage\":null}\n\n";
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

#[tokio::test]
async fn usage_is_asked_for_and_kept_from_a_caller_who_did_not_ask() {
    let text = [ONE, TWO, USAGE, DONE].concat();
    for cut in [1, 7, 40, 64, text.len()] {
        let pieces: Vec<String> =
            text.as_bytes().chunks(cut).map(|piece| String::from_utf8(piece.to_vec()).unwrap()).collect();
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        let provider = Provider::start([events(&pieces, Then::Keep)]).await;
        let world = World::start(&[at(&provider)]);
        let seen = world.call(STREAM).await;
        assert_eq!((seen.body.as_str(), seen.whole), ([ONE, TWO, DONE].concat().as_str(), true));
        assert!(provider.heard()[0].1.contains(r#""stream_options":{"include_usage":true}"#));
        let event = world.metered(1).await.remove(0);
        assert_eq!((event.prompt_tokens, event.completion_tokens), (7, 5));
        assert_eq!((event.end(), event.source()), (CallEnd::Completed, UsageSource::ProviderFinal));
    }
}

#[tokio::test]
async fn who_asked_for_usage_gets_every_byte() {
    let provider = Provider::start([events(&[ONE, TWO, USAGE, DONE], Then::Keep)]).await;
    let world = World::start(&[at(&provider)]);
    let seen = world.call(STREAM_WITH_USAGE).await;
    assert_eq!(seen.body, [ONE, TWO, USAGE, DONE].concat());
    assert_eq!(world.metered(1).await[0].completion_tokens, 5);
}

#[tokio::test]
async fn the_call_is_recorded_before_the_caller_can_know_of_the_end() {
    for request in [STREAM, STREAM_WITH_USAGE] {
        let provider = Provider::start([events(&[ONE, USAGE, DONE], Then::Wait)]).await;
        let world = World::start(&[at(&provider)]);
        let mut callers = JoinSet::new();
        let mut body =
            world.begin(&mut callers, world.post("/v1/chat/completions", request)).await.into_body();
        let mut seen = Vec::new();
        while !seen.ends_with(DONE.as_bytes()) {
            seen.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
        }
        assert_eq!(world.metered_now().len(), 1);
    }
}

#[tokio::test]
async fn a_stream_that_breaks_off_ends_with_an_error_event_and_is_metered_in_part() {
    for request in [STREAM, STREAM_WITH_USAGE] {
        for pieces in [&[ONE, TWO][..], &[ONE, TWO, "data: {\"cho"][..]] {
            let provider = Provider::start([events(pieces, Then::Close)]).await;
            let world = World::start(&[at(&provider)]);
            let seen = world.call(request).await;
            let (before, last) = seen.body.rsplit_once("\n\ndata: ").unwrap();
            assert!(before.starts_with([ONE, TWO].concat().trim_end()), "{}", seen.body);
            let error: serde_json::Value = serde_json::from_str(last).unwrap();
            assert_eq!(error["error"]["code"], "provider_invalid_response");
            assert!(!seen.whole, "nobody takes a part for the whole");
            let event = world.metered(1).await.remove(0);
            assert_eq!((event.end(), event.source()), (CallEnd::ProviderFailed, UsageSource::Estimated));
            assert!((1..=4).contains(&event.completion_tokens), "{event:?}");
            assert_eq!(event.cost_nanos_usd, (event.prompt_tokens + event.completion_tokens).cast_signed());
        }
    }
}

#[tokio::test]
async fn a_stream_without_bounds_that_ends_too_early_has_broken_off() {
    let text = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{ONE}");
    let provider = Provider::start([(vec![text.into_bytes()], Then::Close)]).await;
    let world = World::start(&[at(&provider)]);
    let seen = world.call(STREAM).await;
    assert!(!seen.whole && seen.body.contains("provider_invalid_response"));
    assert_eq!(world.metered(1).await[0].end(), CallEnd::ProviderFailed);
}

#[tokio::test]
async fn a_stream_without_bounds_may_end_after_its_last_event() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nX-Kept: yes\r\nset-cookie: a\r\n\r\n";
    let text = format!("{head}{ONE}{USAGE}{DONE}");
    let provider = Provider::start([(vec![text.into_bytes()], Then::Close)]).await;
    let world = World::start(&[at(&provider)]);
    let seen = world.call(STREAM).await;
    assert!(seen.whole);
    assert_eq!(seen.body, [ONE, DONE].concat());
    assert!(seen.headers["content-type"] == "text/event-stream" && seen.headers["x-kept"] == "yes");
    assert!(!seen.headers.contains_key("set-cookie"));
    assert_eq!(world.metered(1).await[0].end(), CallEnd::Completed);
}

#[tokio::test]
async fn a_stream_that_falls_silent_ends() {
    let provider = Provider::start([events(&[ONE], Then::Wait)]).await;
    let world = World::with_idle(&[at(&provider)], Duration::from_millis(100));
    let seen = world.call(STREAM).await;
    assert!(!seen.whole && seen.body.starts_with(ONE) && seen.body.contains("provider_timeout"));
    assert_eq!(world.metered(1).await[0].end(), CallEnd::TimedOut);
    eventually(|| provider.left() == 1).await;
}

#[tokio::test]
async fn a_caller_who_leaves_cancels_the_providers_work_and_is_metered_in_part() {
    let provider = Provider::start([events(&[ONE, TWO], Then::Wait)]).await;
    let world = World::start(&[at(&provider)]);
    let mut callers = JoinSet::new();
    let mut body = world.begin(&mut callers, world.post("/v1/chat/completions", STREAM)).await.into_body();
    let mut seen = Vec::new();
    while seen.len() < ONE.len() + TWO.len() {
        seen.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    drop((body, callers));
    eventually(|| provider.left() == 1).await;
    let event = world.metered(1).await.remove(0);
    assert_eq!((event.end(), event.source()), (CallEnd::CallerLeft, UsageSource::Estimated));
    assert_eq!(event.status, 200);
    assert!((1..=4).contains(&event.completion_tokens) && event.prompt_tokens > 0, "{event:?}");
}

#[tokio::test]
async fn events_go_on_while_the_next_is_not_there_yet() {
    let provider = Provider::start([events(&[ONE], Then::Wait)]).await;
    let world = World::start(&[at(&provider)]);
    let mut callers = JoinSet::new();
    let mut body = world.begin(&mut callers, world.post("/v1/chat/completions", STREAM)).await.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), ONE);
}

#[tokio::test]
async fn what_came_together_goes_on_together_and_what_came_alone_alone() {
    let (events, then) = events(&[ONE, TWO, ONE, TWO, ONE, TWO, DONE], Then::Keep);
    for (pieces, frames) in [(vec![events.concat()], 1), (events, 7)] {
        let provider = Provider::start([(pieces, then)]).await;
        let world = World::start(&[at(&provider)]);
        let mut callers = JoinSet::new();
        let request = world.post("/v1/chat/completions", STREAM_WITH_USAGE);
        let mut body = world.begin(&mut callers, request).await.into_body();
        let (mut seen, mut count) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            seen.extend_from_slice(&frame.unwrap().into_data().unwrap());
            count += 1;
        }
        assert_eq!(seen, [ONE, TWO, ONE, TWO, ONE, TWO, DONE].concat().as_bytes());
        assert!(count <= frames, "{count} pieces of at most {frames}");
    }
}
