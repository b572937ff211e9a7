//! Limits: who is admitted, what is told, and what is settled on every way out.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bailiwick_proto::{
    config::v1::{self as config, resource::Kind},
    convert::limit::limit_to_wire,
    worker::v1::CallEnd,
};
use bailiwick_quota::{
    limit::{Limit, LimitId, Measure, Over, Scope},
    protocol::{FromHolder, Report},
};
use http_body_util::BodyExt as _;
use tokio::task::JoinSet;

use super::{
    ANSWER, PLAIN, STREAM, at,
    provider::{Provider, Script, Then, events, json, with_header},
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
    others: VecDeque<Provider>,
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
        Self::over([Provider::start(scripts).await].into(), limits, idle).await
    }

    /// The model `public` at each of these providers.
    async fn over(mut providers: VecDeque<Provider>, limits: &[(Measure, u64)], idle: Duration) -> Self {
        let world = World::with_idle(&providers.iter().map(at).collect::<Vec<_>>(), idle);
        let limits: Vec<Limit> = (1..)
            .zip(limits)
            .map(|(number, (measure, amount))| limit(world.organization, number, *measure, *amount))
            .collect();
        world.put([organization(&world, &limits)]);
        let mut control_plane = ControlPlane::start(limits).await;
        let folder = tempfile::tempdir().unwrap();
        let journals =
            Journals::open(folder.path(), 1, 1 << 20, bailiwick_domain::time::Timestamp::default()).unwrap();
        let names = Names::left_in(folder.path(), &journals.lock, &journals.lives);
        control_plane.lend(&world.lent, names);
        // From here on an answer takes no longer than a round trip.
        eventually(|| !world.lent.lease_left().is_zero()).await;
        let provider = providers.pop_front().unwrap();
        Self { world, control_plane, provider, others: providers, _folder: folder }
    }

    /// The newest that the worker told of the limit.
    fn told(&self, number: u32) -> Option<Report> {
        let mut reports = self.control_plane.heard().into_iter().flat_map(|message| match message {
            FromHolder::Exchange(exchange) => exchange.reports,
            FromHolder::Hello(_) | FromHolder::Settlement(_) => Vec::new(),
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
    // What the provider says of its own limits is nothing to the caller.
    let answer =
        with_header(json(200, ANSWER), "x-ratelimit-limit-requests: 9\r\nx-ratelimit-reset-requests: 9s");
    let limited = Limited::start([answer], &[(Measure::RequestsPerMinute, 5)]).await;
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
        let amounts: Vec<_> = seen.headers.get_all("x-ratelimit-limit-requests").iter().collect();
        assert_eq!(amounts, ["5"]);
        assert_eq!(seen.headers.get_all("x-ratelimit-reset-requests").iter().count(), 1);
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

/// A deployment at another price: so many nano-dollars a token, or nobody knows.
fn priced(world: &World, index: usize, provider: &Provider, nanos: Option<i64>) -> Kind {
    let Kind::Deployment(mut deployment) = world.deployment(world.deployments[index], &at(provider)) else {
        panic!("a deployment")
    };
    deployment.price = nanos.map(|nanos| config::Price {
        input_nanos_usd_per_million: nanos * 1_000_000,
        output_nanos_usd_per_million: nanos * 1_000_000,
        ..config::Price::default()
    });
    Kind::Deployment(deployment)
}

#[tokio::test]
async fn a_call_that_nobody_knows_the_cost_of_is_refused_where_a_limit_of_money_is_about_it() {
    let limited = Limited::start([json(200, ANSWER)], &[(Measure::NanoUsdTotal, 1000)]).await;
    let (world, provider) = (&limited.world, &limited.provider);
    world.put([priced(world, 0, provider, None)]);
    let seen = world.call(PLAIN).await;
    assert_eq!((seen.status, seen.code().as_str()), (403, "model_unpriced"));
    assert_eq!(header(&seen, "x-should-retry"), "false");
    let message = seen.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(
        message.starts_with("limit 1 is one of money") && message.contains("bailiwick price set"),
        "{message}"
    );
    assert_eq!(provider.heard().len(), 0);
    // What is known to be free is free.
    world.put([priced(world, 0, provider, Some(0))]);
    assert_eq!(world.call(PLAIN).await.status, 200);
    // Other limits ask for no price.
    world.put([
        priced(world, 0, provider, None),
        organization(world, &[limit(world.organization, 2, Measure::RequestsPerMinute, 0)]),
    ]);
    assert_eq!(world.call(PLAIN).await.code(), "rate_limit_exceeded");
    world.put([organization(world, &[])]);
    assert_eq!(world.call(PLAIN).await.status, 200);
}

#[tokio::test]
async fn of_several_deployments_those_without_a_price_are_passed_over_where_a_limit_of_money_is_about_the_call()
 {
    let providers = [Provider::start([json(200, ANSWER)]).await, Provider::start([json(200, ANSWER)]).await];
    let limits = [(Measure::NanoUsdTotal, 1000)];
    let limited = Limited::over(providers.into(), &limits, Duration::from_secs(20)).await;
    let world = &limited.world;
    world.put([priced(world, 0, &limited.provider, None)]);
    assert_eq!(world.call(PLAIN).await.status, 200);
    assert_eq!((limited.provider.heard().len(), limited.others[0].heard().len()), (0, 1));
    limited.settles_at(12).await;
    world.put([organization(world, &[])]);
    assert_eq!(world.call(PLAIN).await.status, 200);
    assert_eq!(limited.provider.heard().len(), 1, "without the limit it is the first");
}

/// A call whose model fails and whose fallback costs a hundred times as much.
async fn falls_back_to_a_dearer_model(amount: u64) -> (Limited, Seen) {
    let outage = r#"{"error":{"message":"canary","type":"server_error"}}"#;
    let providers = [Provider::start([json(500, outage)]).await, Provider::start([json(200, ANSWER)]).await];
    let limits = [(Measure::NanoUsdTotal, amount)];
    let limited = Limited::over(providers.into(), &limits, Duration::from_secs(20)).await;
    let world = &limited.world;
    let [first, second] = world.deployments[..] else { panic!("two") };
    world.put([
        priced(world, 1, &limited.others[0], Some(100)),
        world.model(world.model, "public", &[first], |model| model.fallback_model = "other".into()),
        world.model(world.id(), "other", &[second], |_| {}),
    ]);
    let seen = world.call(r#"{"model":"public","max_tokens":10,"messages":[]}"#).await;
    (limited, seen)
}

#[tokio::test]
async fn a_fallback_that_is_dearer_is_reserved_for_before_it_is_asked() {
    // Ten tokens of an answer cost 1000 there.
    let (limited, seen) = falls_back_to_a_dearer_model(5000).await;
    assert_eq!((seen.status, header(&seen, "x-bailiwick-model")), (200, "other"), "{}", seen.body);
    limited.settles_at(1200).await;

    let (limited, seen) = falls_back_to_a_dearer_model(900).await;
    assert_eq!(seen.status, 500, "{}", seen.body);
    assert_eq!(limited.others[0].heard().len(), 0, "it could have cost more than there is");
    limited.settles_at(0).await;
}

/// Two deployments of one model, each with a limit of its own.
async fn limited_places(measure: Measure, amounts: [u64; 2], scripts: [Vec<Script>; 2]) -> Limited {
    let mut providers = VecDeque::new();
    for script in scripts {
        providers.push_back(Provider::start(script).await);
    }
    // One limit of the organization, so that the control plane and the worker know of each other.
    let limits = [(Measure::RequestsPerMinute, 1000)];
    let limited = Limited::over(providers, &limits, Duration::from_secs(20)).await;
    let world = &limited.world;
    let of_places = (2..).zip(amounts).zip(&world.deployments).map(|((number, amount), deployment)| {
        let scope = Scope { deployment: Over::One(*deployment), ..Scope::ORGANIZATION };
        Limit::new(LimitId { organization: world.organization, number }, measure, scope, amount).unwrap()
    });
    let whole = limit(world.organization, 1, Measure::RequestsPerMinute, 1000);
    let limits: Vec<Limit> = std::iter::once(whole).chain(of_places).collect();
    world.put([organization(world, &limits)]);
    limits.iter().for_each(|limit| limited.control_plane.set_limit(*limit));
    limited
}

impl Limited {
    /// Calls that each provider heard.
    fn heard(&self) -> [usize; 2] {
        [self.provider.heard().len(), self.others[0].heard().len()]
    }
}

fn answers() -> [Vec<Script>; 2] {
    [vec![json(200, ANSWER)], vec![json(200, ANSWER)]]
}

#[tokio::test]
async fn a_deployment_whose_limit_is_used_up_is_passed_over_and_where_all_are_the_caller_is_told_which() {
    let limited = limited_places(Measure::RequestsPerMinute, [2, 3], answers()).await;
    let world = &limited.world;
    for call in 1..=5 {
        let seen = world.call(PLAIN).await;
        assert_eq!((seen.status, header(&seen, "x-bailiwick-attempts")), (200, "1"), "{call}: {}", seen.body);
    }
    assert_eq!(limited.heard(), [2, 3]);
    let seen = world.call(PLAIN).await;
    assert_eq!((seen.status, seen.code().as_str()), (429, "rate_limit_exceeded"), "{}", seen.body);
    let after: u64 = header(&seen, "retry-after").parse().unwrap();
    assert!((1..=60).contains(&after), "{after}");
    let second = world.deployments[1];
    let told = format!(
        "number=3; measure=requests_per_minute; amount=3; scope=\"the organization at deployment {second}\""
    );
    assert_eq!(header(&seen, "x-bailiwick-limit"), told);
    assert_eq!(limited.heard(), [2, 3]);
    // The organization's own limit counts calls, and not where they went; one that went nowhere is none.
    eventually(|| limited.told(1).is_some_and(|report| report.consumed == 5 && report.held == 0)).await;
}

#[tokio::test]
async fn money_and_tokens_of_a_deployment_are_what_calls_used_there() {
    let limited = limited_places(Measure::NanoUsdTotal, [1000, 1000], answers()).await;
    let world = &limited.world;
    let body = r#"{"model":"public","max_tokens":700,"messages":[]}"#;
    // Twelve nano-dollars each, of a thousand: all calls fit into the first.
    for calls in 1..=3 {
        assert_eq!(world.call(body).await.status, 200);
        eventually(|| {
            limited.told(2).is_some_and(|report| report.consumed == calls * 12 && report.held == 0)
        })
        .await;
    }
    assert_eq!(limited.heard(), [3, 0]);
    // What could cost more than the first has left goes to the second.
    assert_eq!(world.call(&body.replace("700", "980")).await.status, 200);
    assert_eq!(limited.heard(), [3, 1]);
    eventually(|| limited.told(3).is_some_and(|report| report.consumed == 12)).await;
}

#[tokio::test]
async fn a_try_that_fails_is_a_request_to_its_deployment_and_costs_nothing_of_its_money() {
    let outage = r#"{"error":{"message":"canary","type":"server_error"}}"#;
    for (measure, of_first) in [(Measure::RequestsPerMinute, 1), (Measure::NanoUsdTotal, 0)] {
        let scripts = [vec![json(500, outage)], vec![json(200, ANSWER)]];
        let limited = limited_places(measure, [100, 100], scripts).await;
        let seen = limited.world.call(PLAIN).await;
        assert_eq!((seen.status, header(&seen, "x-bailiwick-attempts")), (200, "2"), "{}", seen.body);
        let of_second = if measure.is_money() { 12 } else { 1 };
        eventually(|| {
            let told = |number| limited.told(number).map(|report| (report.consumed, report.held));
            told(2) == Some((of_first, 0)) && told(3) == Some((of_second, 0))
        })
        .await;
    }
}

#[tokio::test]
async fn a_stream_holds_its_place_at_its_deployment_and_others_go_to_the_next() {
    let scripts = [vec![events(&[ONE, ONE], Then::Wait)], vec![json(200, ANSWER)]];
    let limited = limited_places(Measure::ParallelRequests, [1, 1], scripts).await;
    let mut callers = JoinSet::new();
    let request = limited.world.post("/v1/chat/completions", STREAM);
    let mut streaming = limited.world.begin(&mut callers, request).await;
    assert_eq!(streaming.status(), 200);
    let _first = streaming.body_mut().frame().await.unwrap().unwrap();
    for _ in 0..3 {
        let seen = limited.world.call(PLAIN).await;
        assert_eq!(seen.status, 200, "{}", seen.body);
        eventually(|| limited.told(3).is_some_and(|report| report.held == 0)).await;
    }
    assert_eq!(limited.heard(), [1, 3]);
    drop((streaming, callers));
    eventually(|| limited.told(2).is_some_and(|report| report.held == 0)).await;
}

#[tokio::test]
async fn a_call_that_a_deployment_cannot_take_uses_nothing_of_its_limit() {
    let limited = limited_places(Measure::RequestsPerMinute, [1, 1], answers()).await;
    let world = &limited.world;
    let [first, _] = world.deployments[..] else { panic!("two") };
    world.put([world.deployment_of("anthropic", first, &at(&limited.provider))]);
    // The translation to Anthropic's dialect refuses what it does not know.
    let two = r#"{"model":"public","max_tokens":1,"n":2,"messages":[{"role":"user","content":"x"}]}"#;
    assert_eq!(world.call(two).await.status, 200);
    world.put([world.deployment(first, &at(&limited.provider))]);
    assert_eq!(world.call(PLAIN).await.status, 200);
    assert_eq!(limited.heard(), [1, 1]);
    assert_eq!(world.call(PLAIN).await.status, 429);
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
    // A connection that it had begun to take may still be there for a moment.
    let at_once = async {
        loop {
            eventually(|| !limited.world.lent.is_connected()).await;
            let seen = limited.world.call(body).await;
            if seen.body.contains("cannot be shared now") {
                return seen.status;
            }
        }
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(30), at_once).await.unwrap(), 429);
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
