//! Providers that speak HTTP/2: many calls on one connection, none of which touches another.

mod provider;

use std::time::Duration;

use bailiwick_proto::worker::v1::{CallEnd, UsageSource};
use futures_util::future::join_all;
use http_body_util::BodyExt as _;
use tokio::{task::JoinSet, time::timeout};

use self::provider::{Play, Provider, Speech};
use super::{ANSWER, PLAIN, STREAM, world::World};
use crate::polling::eventually;

const USUAL: Speech = Speech::Http2 { most: 100 };
const EVENT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"one\"}}],\"usage\":null}\n\n";
/// What is awaited comes at once, or never.
const SOON: Duration = Duration::from_secs(30);

fn world(provider: &Provider) -> World {
    World::trusting(
        &[provider.endpoint()],
        Duration::from_secs(20),
        std::slice::from_ref(&provider.authority),
    )
}

#[tokio::test]
async fn calls_at_once_are_streams_of_one_connection() {
    let provider = Provider::start(USUAL, [Play::Together(20, ANSWER)]).await;
    let world = world(&provider);
    let seen = join_all((0..20).map(|_| world.call(PLAIN))).await;
    assert!(seen.iter().all(|seen| seen.status == 200 && seen.body == ANSWER && seen.whole), "{seen:?}");
    assert_eq!(world.call(PLAIN).await.status, 200, "and the next");
    assert_eq!((provider.dialled(), provider.heard().len()), (1, 21));
    let metered = world.metered(21).await;
    assert!(metered.iter().all(|event| (event.end(), event.attempts) == (CallEnd::Completed, 1)));
    let head = provider.heard().remove(0);
    assert_eq!(head.uri().to_string(), format!("{}/chat/completions", provider.endpoint()));
    assert!(!head.headers().contains_key("host") && !head.headers().contains_key("connection"));
    assert_eq!(head.headers()["authorization"], "Bearer sk-provider-secret");
}

#[tokio::test]
async fn a_caller_who_leaves_ends_its_stream_and_no_other() {
    let provider =
        Provider::start(USUAL, [Play::Begin(EVENT), Play::Begin(EVENT), Play::Answer(ANSWER)]).await;
    let world = world(&provider);
    let (mut one, mut other) = (JoinSet::new(), JoinSet::new());
    let mut staying = world.begin(&mut one, world.post("/v1/chat/completions", STREAM)).await.into_body();
    let leaving = world.begin(&mut other, world.post("/v1/chat/completions", STREAM)).await;
    assert!(staying.frame().await.unwrap().is_ok());
    drop((leaving, other));
    eventually(|| provider.left() == 1).await;
    assert_eq!(world.call(PLAIN).await.status, 200);
    let left = world.metered(2).await;
    assert_eq!(left.iter().filter(|event| event.end() == CallEnd::CallerLeft).count(), 1);
    assert!(timeout(Duration::from_millis(50), staying.frame()).await.is_err(), "it goes on");
    assert_eq!((provider.dialled(), provider.left()), (1, 1));
}

#[tokio::test]
async fn a_caller_who_does_not_read_holds_up_no_other_and_is_read_ahead_for_but_little() {
    let answers = std::iter::repeat_n(Play::Endless, 6).chain([Play::Answer(ANSWER)]);
    let provider = Provider::start(USUAL, answers).await;
    // None of them is given up meanwhile.
    let idle = 10 * SOON;
    let world = World::trusting(&[provider.endpoint()], idle, std::slice::from_ref(&provider.authority));
    let mut callers = JoinSet::new();
    let mut idle = Vec::new();
    for _ in 0..6 {
        idle.push(world.begin(&mut callers, world.post("/v1/chat/completions", STREAM)).await);
    }
    // Until calls are served while nothing more is taken of any.
    let (mut before, mut still) = (usize::MAX, 0);
    while still < 20 {
        still = if provider.sent() == before && provider.starving() == 6 { still + 1 } else { 0 };
        before = provider.sent();
        let seen = timeout(SOON, world.call(PLAIN)).await.expect("it is not held up");
        assert_eq!((seen.status, provider.dialled()), (200, 1));
    }
    // The window of a stream, what lies between worker and caller, and what the kernel holds of that.
    assert!(before < 6 * (16 << 20), "{before}");
}

#[tokio::test]
async fn a_stream_that_was_refused_is_sent_once_more_elsewhere() {
    let provider = Provider::start(USUAL, [Play::Refuse, Play::Answer(ANSWER)]).await;
    let world = world(&provider);
    let seen = world.call(PLAIN).await;
    assert_eq!((seen.status, provider.heard().len(), provider.dialled()), (200, 2, 2));
    assert_eq!(world.metered(1).await[0].attempts, 1, "it was never begun");
    let refusing = Provider::start(USUAL, [Play::Refuse]).await;
    let world = self::world(&refusing);
    let seen = world.call(PLAIN).await;
    assert_eq!((seen.status, seen.code().as_str()), (502, "provider_unreachable"));
    assert_eq!(world.metered(1).await[0].source(), UsageSource::Estimated);
}

#[tokio::test]
async fn a_stream_behind_the_last_that_a_leaving_provider_takes_is_sent_once_more() {
    let provider = Provider::start(Speech::Leaves, [Play::Answer(ANSWER)]).await;
    let world = world(&provider);
    let seen = world.call(PLAIN).await;
    assert_eq!((seen.status, provider.heard().len(), provider.dialled()), (200, 1, 2));
}

#[tokio::test]
async fn a_stream_that_fails_is_not_sent_once_more() {
    let provider = Provider::start(USUAL, [Play::Fail, Play::Answer(ANSWER)]).await;
    let world = world(&provider);
    // What it costs is not known, so it may not be done twice.
    let body = PLAIN.replace("public\"", "public\",\"n\":2");
    let seen = world.send(world.post("/v1/images/generations", &body)).await;
    assert_eq!((seen.status, provider.heard().len()), (502, 1));
    assert_eq!(world.call(PLAIN).await.status, 200);
    assert_eq!(provider.dialled(), 1, "the connection is none the worse");
}

#[tokio::test]
async fn a_stream_that_is_reset_without_an_error_before_its_end_is_none_the_less_cut() {
    let speech = Play::Cut("audio/mpeg", "half of what was to be said. ");
    let provider = Provider::start(USUAL, [Play::Cut("text/event-stream", EVENT), speech]).await;
    let world = world(&provider);
    let seen = world.call(STREAM).await;
    assert!(!seen.whole || seen.body.contains("\"error\""), "{}", seen.body);
    let seen = world.send(world.post("/v1/audio/speech", PLAIN)).await;
    assert_eq!((seen.status, seen.code().as_str()), (502, "provider_invalid_response"));
    assert!(world.metered(2).await.iter().all(|event| event.end() == CallEnd::ProviderFailed));
}

#[tokio::test]
async fn a_dial_that_hangs_holds_up_nobody_but_whoever_dialled() {
    let provider = Provider::start(Speech::Hangs, [Play::Answer(ANSWER)]).await;
    let world = world(&provider);
    let seen = join_all((0..6).map(|_| world.call(PLAIN))).await;
    assert!(seen.iter().all(|seen| seen.status == 200), "{seen:?}");
    let mut attempts: Vec<_> = world.metered(6).await.iter().map(|event| event.attempts).collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [1, 1, 1, 1, 1, 2], "whoever dialled tried once more");
}

#[tokio::test]
async fn a_provider_that_takes_few_streams_gets_no_more_at_once() {
    let provider = Provider::start(Speech::Http2 { most: 3 }, [Play::Answer(ANSWER)]).await;
    let world = world(&provider);
    for _ in 0..2 {
        let seen = join_all((0..30).map(|_| world.call(PLAIN))).await;
        assert!(seen.iter().all(|seen| seen.status == 200), "{seen:?}");
    }
    assert!(provider.most_open() <= 3, "{}", provider.most_open());
    assert!(provider.dialled() > 1, "there are connections enough for all");
    assert!(world.metered(60).await.iter().all(|event| event.attempts == 1));
}

#[tokio::test]
async fn a_connection_on_which_nothing_came_in_time_gets_no_further_call() {
    let provider = Provider::start(USUAL, [Play::Silence, Play::Answer(ANSWER)]).await;
    let idle = Duration::from_millis(200);
    let world = World::trusting(&[provider.endpoint()], idle, std::slice::from_ref(&provider.authority));
    let late = world.call(PLAIN).await;
    assert_eq!((late.status, late.code().as_str()), (504, "provider_timeout"));
    eventually(|| provider.left() == 1).await;
    assert_eq!((world.call(PLAIN).await.status, provider.dialled()), (200, 2));
}

#[tokio::test]
async fn where_a_deployment_leads_has_changed_no_open_connection_is_used() {
    let (first, second) = tokio::join!(
        Provider::start(USUAL, [Play::Answer(ANSWER)]),
        Provider::start(USUAL, [Play::Answer(ANSWER)])
    );
    let trusted = [first.authority.clone(), second.authority.clone()];
    let world = World::trusting(&[first.endpoint()], Duration::from_secs(20), &trusted);
    assert_eq!(world.call(PLAIN).await.status, 200);
    // R7: the policy no longer admits the address.
    world.put([world.settings(&["127.0.0.1"], &["127.0.0.2/32"])]);
    assert_eq!(world.call(PLAIN).await.code(), "egress_refused");
    world.put([world.settings(&["127.0.0.1"], &["127.0.0.0/8"])]);
    assert_eq!((world.call(PLAIN).await.status, first.dialled()), (200, 2));
    world.put([world.deployment(world.deployments[0], &second.endpoint())]);
    assert_eq!(world.call(PLAIN).await.status, 200);
    assert_eq!((first.heard().len(), second.heard().len()), (2, 1));
}

#[tokio::test]
async fn a_form_has_a_connection_of_its_own() {
    let provider = Provider::start(USUAL, [Play::Answer(ANSWER)]).await;
    let world = world(&provider);
    assert_eq!(world.call(PLAIN).await.status, 200);
    let form = "--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\npublic\r\n--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nsound\r\n--XX--\r\n";
    let mut request = world.post("/v1/audio/transcriptions", form);
    let multipart = "multipart/form-data; boundary=XX".parse().unwrap();
    request.headers_mut().insert("content-type", multipart);
    assert_eq!(world.send(request).await.status, 200);
    assert_eq!((provider.heard().len(), provider.dialled()), (1, 2));
}

#[tokio::test]
async fn a_provider_of_http_1_gets_a_connection_for_each_call() {
    let provider = Provider::start(Speech::Http1(ANSWER), []).await;
    let world = world(&provider);
    let seen = join_all((0..8).map(|_| world.call(PLAIN))).await;
    assert!(seen.iter().all(|seen| seen.status == 200), "{seen:?}");
    assert_eq!(provider.dialled(), 8);
}

#[tokio::test]
async fn a_provider_whose_certificate_nobody_vouches_for_is_not_spoken_to() {
    let provider = Provider::start(USUAL, [Play::Answer(ANSWER)]).await;
    let world = World::start(&[provider.endpoint()]);
    let seen = world.call(PLAIN).await;
    assert_eq!((seen.status, seen.code().as_str()), (502, "provider_unreachable"));
    assert_eq!(provider.heard().len(), 0);
}

#[tokio::test]
async fn r10_no_stream_begins_that_is_not_on_record() {
    let provider = Provider::start(USUAL, [Play::Answer(ANSWER)]).await;
    let world = World::with_full_disk(&[provider.endpoint()], std::slice::from_ref(&provider.authority));
    let seen = world.call(PLAIN).await;
    assert_eq!((seen.status, seen.code().as_str()), (503, "usage_journal_full"));
    assert_eq!((provider.dialled(), provider.heard().len()), (1, 0));
}
