//! Limits: who is admitted, what is told, and what is settled on every way out.

use std::{sync::Arc, time::Duration};

use bailiwick_proto::{
    config::v1::{self as config, resource::Kind},
    convert::limit::limit_to_wire,
    worker::v1::CallEnd,
};
use bailiwick_quota::{
    limit::{Limit, Measure},
    protocol::{FromHolder, Report},
};
use http_body_util::BodyExt as _;
use tokio::task::JoinSet;

use super::{
    ANSWER, PLAIN, STREAM, at,
    provider::{Provider, Script, Then, events, json},
    world::{Seen, World},
};
use crate::{
    limits::{
        Names,
        tests::{control_plane::ControlPlane, limit},
    },
    metering::Journals,
    polling::eventually,
};

const ONE: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"one\"}}],\"usage\":null}\n\n";

/// A tenant with limits, and the control plane that lends of them.
struct Limited {
    world: World,
    control_plane: ControlPlane,
    provider: Provider,
    _folder: tempfile::TempDir,
}

impl Limited {
    async fn start(scripts: impl IntoIterator<Item = Script>, limits: &[(Measure, u64)]) -> Self {
        Self::with_idle(scripts, limits, Duration::from_secs(20)).await
    }

    async fn with_idle(
        scripts: impl IntoIterator<Item = Script>,
        limits: &[(Measure, u64)],
        idle: Duration,
    ) -> Self {
        let provider = Provider::start(scripts).await;
        let world = World::with_idle(&[at(&provider)], idle);
        let limits: Vec<Limit> = (1..)
            .zip(limits)
            .map(|(number, (measure, amount))| limit(world.organization, number, *measure, *amount))
            .collect();
        world.put([organization(&world, &limits)]);
        let mut control_plane = ControlPlane::start(limits).await;
        let folder = tempfile::tempdir().unwrap();
        let journals =
            Journals::open(folder.path(), 1, 1 << 20, bailiwick_domain::time::Timestamp::default());
        let names = Names::left_in(folder.path(), &journals.unwrap().lock);
        control_plane.lend(&world.lent, names);
        // From here on an answer takes no longer than a round trip.
        eventually(|| !world.lent.lease_left().is_zero()).await;
        Self { world, control_plane, provider, _folder: folder }
    }

    /// The newest that the worker told of the limit.
    fn told(&self, number: u32) -> Option<Report> {
        let mut reports = self.control_plane.heard().into_iter().flat_map(|message| match message {
            FromHolder::Exchange(exchange) => exchange.reports,
            FromHolder::Hello(_) => Vec::new(),
        });
        reports.by_ref().filter(|report| report.account.limit.number == number).last()
    }

    /// So much is used for good of the first limit, and nothing is held.
    async fn settles_at(&self, consumed: u64) {
        self.settles_within(consumed..=consumed).await;
    }

    /// The same where a part of it is estimated.
    async fn settles_within(&self, consumed: std::ops::RangeInclusive<u64>) {
        eventually(|| {
            self.told(1).is_some_and(|report| report.held == 0 && consumed.contains(&report.consumed))
        })
        .await;
    }
}

fn organization(world: &World, limits: &[Limit]) -> Kind {
    Kind::Organization(config::Organization {
        id: world.organization.to_string(),
        limits: limits.iter().map(|limit| limit_to_wire(limit).unwrap()).collect(),
        ..Default::default()
    })
}

fn header<'a>(seen: &'a Seen, name: &str) -> &'a str {
    seen.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn exactly_as_many_calls_are_admitted_as_the_limit_allows_and_the_others_are_told_which_it_was() {
    let limited = Limited::start([json(200, ANSWER)], &[(Measure::RequestsPerMinute, 5)]).await;
    let world = Arc::new(limited.world);
    let mut callers = JoinSet::new();
    for _ in 0..12 {
        let world = Arc::clone(&world);
        callers.spawn(async move { world.call(PLAIN).await });
    }
    let (admitted, refused): (Vec<Seen>, Vec<Seen>) =
        callers.join_all().await.into_iter().partition(|seen| seen.status == 200);
    assert_eq!((admitted.len(), refused.len()), (5, 7));
    assert_eq!(limited.provider.heard().len(), 5);
    for seen in &refused {
        assert_eq!((seen.status, seen.code().as_str()), (429, "rate_limit_exceeded"));
        assert_eq!(seen.json()["error"]["type"], "rate_limit_error");
        let after: u64 = header(seen, "retry-after").parse().unwrap();
        assert!((1..=60).contains(&after), "{after}");
        assert_eq!(
            header(seen, "x-bailiwick-limit"),
            "number=1; measure=requests_per_minute; amount=5; scope=\"the organization\""
        );
        assert_eq!(
            seen.json()["error"]["message"],
            format!(
                "limit 1 (5 requests_per_minute for the organization) is used up: try again in {after} seconds"
            )
        );
        assert_eq!(header(seen, "x-ratelimit-remaining-requests"), "0");
    }
    for seen in &admitted {
        assert_eq!(header(seen, "x-ratelimit-limit-requests"), "5");
        assert!(header(seen, "x-ratelimit-remaining-requests").parse::<u64>().unwrap() < 5);
        assert!(header(seen, "x-ratelimit-reset-requests").ends_with('s'));
        assert!(!seen.headers.contains_key("x-ratelimit-limit-tokens"));
    }
    assert_eq!(world.metered(5).await.len(), 5);
}

#[tokio::test]
async fn who_has_no_limits_is_told_of_none() {
    let provider = Provider::start([json(200, ANSWER)]).await;
    let world = World::start(&[at(&provider)]);
    let seen = world.call(PLAIN).await;
    assert_eq!(seen.status, 200);
    assert!(!seen.headers.keys().any(|name| name.as_str().contains("ratelimit")), "{:?}", seen.headers);
}

#[tokio::test]
async fn callers_of_anthropics_api_are_refused_in_its_form() {
    let limited = Limited::start([json(200, ANSWER)], &[(Measure::RequestsPerMinute, 0)]).await;
    let seen = limited.world.send(limited.world.post("/v1/messages", PLAIN)).await;
    assert_eq!((seen.status, seen.json()["error"]["type"].as_str()), (429, Some("rate_limit_error")));
    assert_eq!(seen.json()["error"]["code"], "rate_limit_exceeded");
    assert_eq!(header(&seen, "anthropic-ratelimit-requests-limit"), "0");
    assert!(!seen.headers.contains_key("x-ratelimit-limit-requests"));
    assert_eq!(header(&seen, "x-should-retry"), "false", "time will not help");
}

#[tokio::test]
async fn money_is_reserved_before_the_call_and_settled_to_the_nano_dollar() {
    let limited = Limited::start([json(200, ANSWER)], &[(Measure::NanoUsdTotal, 1000)]).await;
    for calls in 1..=5 {
        assert_eq!(limited.world.call(PLAIN).await.status, 200);
        limited.settles_at(calls * 12).await;
    }
    let metered = limited.world.metered(5).await;
    assert_eq!(metered.iter().map(|event| event.cost_nanos_usd).sum::<i64>(), 60);
    // An answer that could cost more than there is.
    let body = r#"{"model":"public","max_tokens":941,"messages":[]}"#;
    let seen = limited.world.call(body).await;
    assert_eq!((seen.status, seen.code().as_str()), (429, "insufficient_quota"));
    assert_eq!(header(&seen, "x-should-retry"), "false");
    assert!(!seen.headers.contains_key("retry-after"));
    assert!(header(&seen, "x-bailiwick-limit").contains("measure=nano_usd_total; amount=1000"));
    // One that could not.
    assert_eq!(limited.world.call(&body.replace("941", "800")).await.status, 200);
    limited.settles_at(72).await;
}

#[tokio::test]
async fn tokens_are_settled_by_what_the_provider_counted() {
    let limited = Limited::start([json(200, ANSWER)], &[(Measure::TokensPerMinute, 10_000)]).await;
    let body = r#"{"model":"public","max_tokens":100,"messages":[]}"#;
    let seen = limited.world.call(body).await;
    let taken = body.len() as u64 + 100;
    assert_eq!(header(&seen, "x-ratelimit-remaining-tokens"), (10_000 - taken).to_string());
    limited.settles_at(12).await;
    // What was asked for is larger than the limit: no time will help.
    let seen = limited.world.call(&body.replace("100", "10001")).await;
    assert_eq!((seen.status, header(&seen, "x-should-retry")), (429, "false"));
    let message = seen.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(
        message.ends_with(
            "is smaller than this one call: ask for a shorter answer, or your administrator to raise it"
        ),
        "{message}"
    );
}

#[tokio::test]
async fn a_caller_who_names_no_bound_is_not_refused_for_what_was_guessed() {
    let limited = Limited::start([json(200, ANSWER)], &[(Measure::TokensPerMinute, 100)]).await;
    // Each takes a tenth, and uses twelve.
    for calls in 1..=8 {
        assert_eq!(limited.world.call(PLAIN).await.status, 200, "{calls}");
        limited.settles_at(calls * 12).await;
    }
    assert_eq!(limited.world.call(PLAIN).await.status, 429);
}

#[tokio::test]
async fn every_way_out_gives_back_what_was_not_used() {
    let broken = (vec![b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_vec()], Then::Close);
    let lost = (Vec::new(), Then::Close);
    for (name, script, status) in [
        ("the provider's error", json(404, "{}"), 404),
        ("a refused credential", json(401, "{}"), 502),
        ("half an answer", broken, 502),
        ("no answer", lost, 502),
        ("no usage", json(200, "{}"), 200),
        ("no JSON", json(200, "{"), 502),
        ("a late answer", (Vec::new(), Then::Wait), 504),
    ] {
        let limits = [
            (Measure::TokensPerMinute, 100_000),
            (Measure::ParallelRequests, 1),
            (Measure::RequestsPerMinute, 9),
        ];
        let limited =
            Limited::with_idle([script, json(200, ANSWER)], &limits, Duration::from_millis(300)).await;
        let seen = limited.world.call(PLAIN).await;
        assert_eq!(seen.status, status, "{name}: {}", seen.body);
        assert_eq!(header(&seen, "x-ratelimit-limit-tokens"), "100000", "{name}: told in errors, too");
        // The place is free, and no token was used; but what an answer without usage took, and one that was not waited for, is estimated: its prompt.
        let seen = limited.world.call(PLAIN).await;
        assert_eq!(seen.status, 200, "{name}: {}", seen.body);
        let estimated = if ["no usage", "a late answer"].contains(&name) { 1..=5 } else { 0..=0 };
        limited.settles_within(12 + estimated.start()..=12 + estimated.end()).await;
        eventually(|| limited.told(3).is_some_and(|report| report.consumed == 2)).await;
    }
}

#[tokio::test]
async fn a_call_that_no_provider_was_asked_for_uses_nothing() {
    let limited = Limited::start([json(200, ANSWER)], &[(Measure::RequestsPerMinute, 1)]).await;
    // The translation to Anthropic's dialect refuses what it does not know.
    let (world, deployment) = (&limited.world, limited.world.deployments[0]);
    world.put([world.deployment_of("anthropic", deployment, &at(&limited.provider))]);
    let seen = world
        .call(r#"{"model":"public","max_tokens":1,"n":2,"messages":[{"role":"user","content":"x"}]}"#)
        .await;
    assert_eq!(seen.code(), "unsupported_by_provider");
    assert_eq!(header(&seen, "x-ratelimit-remaining-requests"), "0");
    world.put([world.deployment(deployment, &at(&limited.provider))]);
    assert_eq!(world.call(PLAIN).await.status, 200);
    assert_eq!(world.call(PLAIN).await.status, 429);
}

#[tokio::test]
async fn an_open_stream_holds_its_place_and_gives_it_back_when_its_caller_leaves() {
    let limited = Limited::start(
        [events(&[ONE, ONE], Then::Wait), json(200, ANSWER)],
        &[(Measure::ParallelRequests, 1)],
    )
    .await;
    let mut callers = JoinSet::new();
    let request = limited.world.post("/v1/chat/completions", STREAM);
    let mut streaming = limited.world.begin(&mut callers, request).await;
    assert_eq!(streaming.status(), 200);
    let _first = streaming.body_mut().frame().await.unwrap().unwrap();
    let seen = limited.world.call(PLAIN).await;
    assert_eq!((seen.status, header(&seen, "retry-after")), (429, "1"));
    drop((streaming, callers));
    let event = limited.world.metered(1).await.remove(0);
    assert_eq!(event.end(), CallEnd::CallerLeft);
    eventually(|| limited.told(1).is_some_and(|report| report.held == 0)).await;
    let again = async { while limited.world.call(PLAIN).await.status != 200 {} };
    tokio::time::timeout(Duration::from_secs(30), again).await.unwrap();
}

#[tokio::test]
async fn what_a_stream_that_was_cut_had_used_is_charged_as_it_was_metered() {
    let limited =
        Limited::start([events(&[ONE, ONE, ONE], Then::Close)], &[(Measure::TokensPerMinute, 100_000)]).await;
    let seen = limited.world.call(STREAM).await;
    assert!(!seen.whole);
    let event = limited.world.metered(1).await.remove(0);
    assert_eq!(event.end(), CallEnd::ProviderFailed);
    assert!(event.completion_tokens >= 3);
    limited.settles_at(event.prompt_tokens + event.completion_tokens).await;
}

#[tokio::test]
async fn r9_without_an_answer_a_call_is_refused_after_a_moment_and_without_a_control_plane_at_once() {
    let mut limited = Limited::start([json(200, ANSWER)], &[(Measure::NanoUsdTotal, 100_000)]).await;
    assert_eq!(limited.world.call(PLAIN).await.status, 200);
    limited.control_plane.fall_silent();
    let body = r#"{"model":"public","max_tokens":90000,"messages":[]}"#;
    let seen = limited.world.call(body).await;
    assert_eq!((seen.status, header(&seen, "retry-after")), (429, "1"));
    let message = seen.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("could not be shared in time: try again in a second"), "{message}");
    limited.control_plane.go_away();
    eventually(|| !limited.world.lent.is_connected()).await;
    let seen = limited.world.call(body).await;
    let message = seen.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("cannot be shared now"), "{message}");
    // What was lent ahead of demand serves on.
    assert_eq!(limited.world.call(PLAIN).await.status, 200);
}

#[tokio::test]
async fn limits_that_change_hold_from_the_next_call_on() {
    let limited = Limited::start([json(200, ANSWER)], &[(Measure::RequestsPerMinute, 1)]).await;
    let world = &limited.world;
    assert_eq!(world.call(PLAIN).await.status, 200);
    assert_eq!(world.call(PLAIN).await.status, 429);
    let raised = limit(world.organization, 1, Measure::RequestsPerMinute, 3);
    world.put([organization(world, &[raised])]);
    limited.control_plane.set_limit(raised);
    let served = async {
        let mut served = 0;
        while served < 2 {
            served += usize::from(world.call(PLAIN).await.status == 200);
        }
    };
    tokio::time::timeout(Duration::from_secs(30), served).await.unwrap();
    assert_eq!(world.call(PLAIN).await.status, 429);
    world.put([organization(world, &[])]);
    assert_eq!(world.call(PLAIN).await.status, 200);
}
