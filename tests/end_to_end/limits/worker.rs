//! What workers make of limits: over all of them the sum never exceeds, whoever is killed or cut off, and callers are told what SDKs understand.

use std::{
    path::Path,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use bailiwick_proto::admin::v1 as wire;
use bailiwick_tests::{
    admin::{Admin, fresh},
    calls::{Application, Caller},
    eventually,
    installation::{Installation, Process, Region},
    process::{Owned, go_on, kill_hard, stop},
};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const REGION: &str = "eu-central-1";
/// A minute that has so many seconds left is long enough for what a test does within one.
const EARLY: u64 = 28;

/// A region's tenant, and its operator.
struct Tenant {
    admin: Admin,
    region: Region,
    application: Application,
}

/// What a caller saw.
struct Seen {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }

    fn is_used_up(&self) -> bool {
        self.status == 429 && self.message().contains("is used up")
    }

    fn tokens(&self) -> u64 {
        self.body["usage"]["total_tokens"].as_u64().unwrap_or_default()
    }
}

impl Tenant {
    fn of(installation: &Installation) -> Self {
        let region = installation.region(REGION).clone();
        Self { admin: Admin::of(REGION, &region), application: Application::of(&region), region }
    }

    /// A limit of the whole organization, once every worker has it.
    async fn limit(&self, measure: &str, amount: u64) -> u32 {
        let request = wire::CreateLimitRequest {
            idempotency_key: fresh(),
            organization_id: self.region.organization.clone(),
            measure: measure.to_owned(),
            amount,
            ..Default::default()
        };
        let made = self.admin.policies().create_limit(request).await.expect("limit").into_inner();
        self.admin.applied(made.change.expect("change").revision).await;
        made.limit.expect("limit").number
    }

    async fn unlimit(&self, number: u32) {
        let organization_id = self.region.organization.clone();
        let request = wire::DeleteLimitRequest { organization_id, number };
        let made = self.admin.policies().delete_limit(request).await.expect("limit").into_inner();
        self.admin.applied(made.change.expect("change").revision).await;
    }

    async fn call(&self) -> Seen {
        call(&self.application, &self.region.model, &json!({"max_tokens": 100})).await
    }

    /// So many calls at once.
    async fn burst(&self, calls: usize) -> Vec<Seen> {
        let mut callers = JoinSet::new();
        for _ in 0..calls {
            let (application, model) = (self.application.clone(), self.region.model.clone());
            callers.spawn(async move { call(&application, &model, &json!({"max_tokens": 100})).await });
        }
        callers.join_all().await
    }

    /// Bursts until everything is used up, and how many calls were served.
    async fn exhaust(&self, calls: usize) -> Vec<Seen> {
        let mut served = Vec::new();
        loop {
            let seen = self.burst(calls).await;
            let used_up = seen.iter().all(Seen::is_used_up);
            served.extend(seen.into_iter().filter(|seen| seen.status == 200));
            if used_up {
                return served;
            }
        }
    }

    /// The sums that the control plane has of a limit: used for good or held.
    async fn used(&self, number: u32) -> u64 {
        self.standing(number).await.used
    }

    /// How the one account of a limit stands.
    async fn standing(&self, number: u32) -> wire::LimitUsage {
        let organization_id = self.region.organization.clone();
        let request = wire::GetLimitUsageRequest { organization_id };
        let usage = self.admin.policies().get_limit_usage(request).await.expect("usage").into_inner().usage;
        usage.into_iter().find(|usage| usage.number == number).unwrap_or_default()
    }
}

async fn call(application: &Application, model: &str, more: &Value) -> Seen {
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": "one two three"}]});
    let members = body.as_object_mut().expect("an object");
    members.extend(more.as_object().expect("an object").clone());
    let answer = application.post("/chat/completions", &body).await.expect("an answer");
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Seen { status, headers, body: answer.json().await.unwrap_or_default() }
}

fn second_of_the_minute() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after the epoch").as_secs() % 60
}

/// What begins now ends within the same minute.
async fn early_in_a_minute() {
    eventually("a minute begins", || async { (second_of_the_minute() < 60 - EARLY).then_some(()) }).await;
}

async fn metric(process: &Process, name: &str) -> u64 {
    let text = reqwest::get(&process.metrics).await.expect("metrics").text().await.expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse::<f64>().ok()).map_or(0, |value| value as u64)
}

#[tokio::test(flavor = "multi_thread")]
async fn over_all_workers_a_limit_is_used_whole_and_never_exceeded() {
    let installation = Installation::start();
    let tenant = Tenant::of(&installation);
    let workers = &tenant.region.processes.workers;
    assert!(workers.len() >= 2, "there is something to share");

    // Requests: exactly as many as there are.
    let limit = tenant.limit("requests_per_minute", 30).await;
    early_in_a_minute().await;
    let served = tenant.exhaust(20).await;
    assert_eq!(served.len(), 30);
    for worker in workers {
        let name = "bailiwick_answers_total{status=\"200\"}";
        assert!(metric(worker, name).await > 0, "{} served", worker.name);
        assert_eq!(metric(worker, "bailiwick_limit_exchange_connected").await, 1);
    }
    let refused = tenant.call().await;
    assert_eq!((refused.status, refused.body["error"]["code"].as_str()), (429, Some("rate_limit_exceeded")));
    let after: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&after), "{after}");
    for (name, value) in [
        ("x-ratelimit-limit-requests", "30"),
        ("x-ratelimit-remaining-requests", "0"),
        (
            "x-bailiwick-limit",
            &format!("number={limit}; measure=requests_per_minute; amount=30; scope=\"the organization\""),
        ),
    ] {
        assert_eq!(refused.header(name), value, "{name}");
    }
    assert!(refused.header("x-ratelimit-reset-requests").ends_with('s'));
    assert!(served.iter().all(|seen| seen.header("x-ratelimit-limit-requests") == "30"));
    tenant.unlimit(limit).await;

    // Tokens: what the answers say together is within.
    let limit = tenant.limit("tokens_per_minute", 2000).await;
    early_in_a_minute().await;
    let served = tenant.exhaust(6).await;
    let tokens: u64 = served.iter().map(Seen::tokens).sum();
    assert!((1000..=2000).contains(&tokens), "{tokens} of 2000");
    assert!(served.iter().all(|seen| seen.header("x-ratelimit-limit-tokens") == "2000"));
    tenant.unlimit(limit).await;

    // Who has used little is refused nothing.
    let limit = tenant.limit("requests_per_minute", 100).await;
    early_in_a_minute().await;
    for calls in 1..=45 {
        let seen = tenant.call().await;
        assert!(!seen.is_used_up(), "call {calls}: {}", seen.message());
    }
    tenant.unlimit(limit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_is_counted_to_the_nano_dollar_as_usage_counts_it() {
    let installation = Installation::start();
    let tenant = Tenant::of(&installation);
    let admin = &tenant.admin;
    // What was used before the limit was set is not charged to it.
    let before = admin.total(&tenant.region.organization).await.cost_nanos_usd;
    let one = tenant.call().await;
    assert_eq!(one.status, 200);
    let price = eventually("the call is metered", || async {
        let cost = admin.total(&tenant.region.organization).await.cost_nanos_usd - before;
        (cost > 0).then_some(cost)
    })
    .await;
    let amount = 400 * u64::try_from(price).expect("a cost");
    let limit = tenant.limit("nano_usd_total", amount).await;
    let served = tenant.exhaust(8).await;
    assert!(!served.is_empty());
    let refused = tenant.call().await;
    assert_eq!((refused.status, refused.body["error"]["code"].as_str()), (429, Some("insufficient_quota")));
    assert_eq!(refused.header("x-should-retry"), "false");
    let cost = price * i64::try_from(served.len()).expect("few");
    assert!(u64::try_from(cost).expect("a cost") <= amount);
    eventually("usage and the limit agree", || async {
        let metered = admin.total(&tenant.region.organization).await.cost_nanos_usd - before - price;
        let used = tenant.used(limit).await;
        (metered == cost && used == u64::try_from(cost).expect("a cost")).then_some(())
    })
    .await;
}

/// Whoever is killed in the midst of calls gives back, with its next life, what it was lent and did not use: of both limits to the nano-dollar what usage does not say.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_worker_held_of_money_and_did_not_use_comes_back_exactly() {
    let installation = Installation::start();
    let tenant = Tenant::of(&installation);
    let (admin, processes) = (&tenant.admin, &tenant.region.processes);
    let organization = &tenant.region.organization;
    assert!(processes.workers.len() >= 2, "somebody goes on");
    let cost = async || u64::try_from(admin.total(organization).await.cost_nanos_usd).expect("a cost");
    // What was used before the limits were set is not charged to them.
    let before = cost().await;
    // Far more than the calls cost: most of what is lent is not used.
    let total = tenant.limit("nano_usd_total", 50_000_000_000).await;
    let month = tenant.limit("nano_usd_per_month", 40_000_000_000).await;
    let load = super::super::crash::Load::start(&tenant.region);
    load.more(200).await;
    let worker = &processes.workers[0];
    kill_hard(worker.pid);
    load.more(50).await;

    let again = Owned::start(&worker.command, &worker.log.with_extension("again.log"));
    // Its next life is killed as well, and the control plane too.
    kill_hard(processes.control_plane.pid);
    let log = processes.control_plane.log.with_extension("again.log");
    let _control_plane = Owned::start(&processes.control_plane.command, &log);
    super::super::crash::ready(&processes.control_plane).await;
    load.more(200).await;
    kill_hard(again.pid());
    let _third = Owned::start(&worker.command, &worker.log.with_extension("third.log"));
    load.more(200).await;
    let served = load.finish().await;
    assert!(served.len() >= 600);
    eventually("usage and both limits agree, and nothing is in doubt", || async {
        let metered = cost().await - before;
        for limit in [total, month] {
            let stands = tenant.standing(limit).await;
            if (stands.used, stands.in_doubt) != (metered, 0) {
                return None;
            }
        }
        (metered > 0).then_some(())
    })
    .await;
    super::super::crash::assert_exact(admin, organization, &served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_streams_hold_their_places_until_they_end_or_their_worker_is_dead() {
    let installation = Installation::start();
    let tenant = Tenant::of(&installation);
    let (admin, region) = (&tenant.admin, &tenant.region);
    let credential = admin.new_credential(&region.organization, "key").await;
    let provider = &installation.provider;
    let revision =
        admin.new_model(&region.organization, "held", provider, "simulated-held", &credential).await;
    admin.applied(revision).await;
    tenant.limit("parallel_requests", 2).await;
    let stream = || async {
        let mut caller =
            Caller::stream(&region.base_url, &region.api_key, "held").await.expect("a connection");
        assert!(caller.read_to("\r\n\r\n").await.expect("an answer"));
        let admitted = caller.received.starts_with(b"HTTP/1.1 200");
        admitted.then_some(caller)
    };
    let first = eventually("a place is free", stream).await;
    let second = eventually("another place is free", stream).await;
    let refused = tenant.call().await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "1"), "{}", refused.message());

    // A caller who leaves gives his place to another.
    drop(first);
    let third = eventually("the place is free again", stream).await;
    assert_eq!(tenant.call().await.status, 429);

    // Workers that are killed, with what they held: their next lives say that it is over.
    let mut again = Vec::new();
    for worker in &region.processes.workers {
        kill_hard(worker.pid);
        again.push(Owned::start(&worker.command, &worker.log.with_extension("again.log")));
    }
    drop((second, third));
    let (_one, _two) = (
        eventually("a place is free after the kill", stream).await,
        eventually("both places are free after the kill", stream).await,
    );
    assert_eq!(tenant.call().await.status, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn r9_no_kill_and_no_outage_lets_more_through_than_the_limit() {
    let installation = Installation::start();
    let tenant = Tenant::of(&installation);
    let processes = &tenant.region.processes;
    tenant.limit("requests_per_minute", 60).await;
    early_in_a_minute().await;
    let served = |seen: Vec<Seen>| seen.iter().filter(|seen| seen.status == 200).count();
    let mut total = served(tenant.burst(20).await);
    assert!(total > 0);

    // Without its control plane a worker uses what it was lent.
    kill_hard(processes.control_plane.pid);
    total += served(tenant.burst(30).await);
    total += served(tenant.burst(30).await);
    assert!(total <= 60, "{total}");
    let cut_off = tenant.call().await;
    assert_eq!(cut_off.status, 429, "what was lent is used");

    // One that comes back knows what it had lent; and a worker that is killed is not lent it anew.
    let log = processes.control_plane.log.with_extension("again.log");
    let _control_plane = Owned::start(&processes.control_plane.command, &log);
    super::super::crash::ready(&processes.control_plane).await;
    let worker = &processes.workers[0];
    kill_hard(worker.pid);
    let _worker = Owned::start(&worker.command, &worker.log.with_extension("again.log"));
    // As long as it is the same minute.
    let began = second_of_the_minute();
    while (began..58).contains(&second_of_the_minute()) {
        total += served(tenant.burst(10).await);
    }
    assert!(total <= 60, "{total}");
    // The next minute begins for everybody.
    eventually("calls are served again", || async { (tenant.call().await.status == 200).then_some(()) })
        .await;
}

/// While it stands still it says nothing, and its calls hang; when it goes on, it believes in what it was lent before.
#[tokio::test(flavor = "multi_thread")]
async fn r9_a_worker_that_stands_still_and_goes_on_lets_no_more_through_than_the_limit() {
    let installation = Installation::start();
    let tenant = Tenant::of(&installation);
    let (admin, organization) = (&tenant.admin, &tenant.region.organization);
    let cost = async || u64::try_from(admin.total(organization).await.cost_nanos_usd).expect("a cost");
    let before = cost().await;
    assert_eq!(tenant.call().await.status, 200);
    let price = eventually("the call is metered", || async {
        Some(cost().await - before).filter(|price| *price > 0)
    })
    .await;
    let amount = 100 * price;
    let limit = tenant.limit("nano_usd_total", amount).await;
    let mut served: usize = tenant.burst(10).await.iter().filter(|seen| seen.status == 200).count();
    let still = &tenant.region.processes.workers[0];
    for _ in 0..2 {
        stop(still.pid);
        let mut callers = JoinSet::new();
        for _ in 0..20 {
            let (application, model) = (tenant.application.clone(), tenant.region.model.clone());
            callers.spawn(async move { call(&application, &model, &json!({"max_tokens": 100})).await });
        }
        // The other one goes on.
        for _ in 0..5 {
            let seen = callers.join_next().await.expect("twenty").expect("a caller");
            served += usize::from(seen.status == 200);
        }
        go_on(still.pid);
        served += callers.join_all().await.iter().filter(|seen| seen.status == 200).count();
    }
    served += tenant.exhaust(8).await.len();
    assert!(u64::try_from(served).expect("few") * price <= amount, "{served} of 100");
    eventually("usage and the limit agree", || async {
        let metered = cost().await - before - price;
        let stands = tenant.standing(limit).await;
        assert!(metered <= amount, "{metered} of {amount}");
        (stands.used == metered && stands.used + stands.lent + stands.in_doubt <= amount).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdks_raise_their_own_errors_for_limits() {
    let python =
        std::env::var("BAILIWICK_SDK_PYTHON").expect("BAILIWICK_SDK_PYTHON: ./tests/run prepares it");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("end_to_end/limits/sdk.py");
    let installation = Installation::start();
    let tenant = Tenant::of(&installation);
    tenant.limit("requests_per_minute", 2).await;
    tenant.limit("parallel_requests", 9).await;
    early_in_a_minute().await;
    let region = &tenant.region;
    let output = Command::new(&python)
        .arg(&script)
        .args([&region.base_url, &region.api_key, &region.model])
        .output()
        .expect("python");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}
