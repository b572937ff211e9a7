//! R9 and R10: processes are killed without a word while calls are under way.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use bailiwick_proto::admin::v1::{GetRegionRequest, RevokeKeyRequest};
use bailiwick_tests::{
    admin::Admin,
    calls::{Application, request_id},
    eventually,
    installation::{Installation, Process, Region},
    process::{Owned, kill_hard},
};
use serde_json::Value;
use tokio::task::JoinSet;

const REGION: &str = "eu-central-1";

/// What callers were served: tokens by request id, as the answers themselves say.
type Served = Arc<Mutex<BTreeMap<String, (u64, u64)>>>;

/// Callers that call until they are told to stop. A call that fails is not served.
pub(super) struct Load {
    served: Served,
    stop: Arc<AtomicBool>,
    callers: JoinSet<()>,
}

impl Load {
    pub(super) fn start(region: &Region) -> Self {
        let (served, stop) = (Served::default(), Arc::new(AtomicBool::new(false)));
        let mut callers = JoinSet::new();
        for _ in 0..8 {
            let (application, model) = (Application::of(region), region.model.clone());
            let (served, stop) = (Arc::clone(&served), Arc::clone(&stop));
            callers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    call(&application, &model, &served).await;
                }
            });
        }
        Self { served, stop, callers }
    }

    fn count(&self) -> usize {
        self.served.lock().expect("lock").len()
    }

    /// Waits until so many more calls were served.
    pub(super) async fn more(&self, calls: usize) {
        let goal = self.count() + calls;
        eventually("callers are served", || async { (self.count() >= goal).then_some(()) }).await;
    }

    pub(super) async fn finish(mut self) -> BTreeMap<String, (u64, u64)> {
        self.stop.store(true, Ordering::Relaxed);
        while self.callers.join_next().await.is_some() {}
        std::mem::take(&mut *self.served.lock().expect("lock"))
    }
}

async fn call(application: &Application, model: &str, served: &Served) {
    let Ok(answer) = application.chat(model, "one two three four", false).await else { return };
    let (id, ok) = (request_id(&answer), answer.status().is_success());
    let Ok(body) = answer.json::<Value>().await else { return };
    if !ok {
        tokio::task::yield_now().await;
        return;
    }
    let count = |name: &str| body["usage"][name].as_u64().expect("the answer says what it cost");
    let tokens = (count("prompt_tokens"), count("completion_tokens"));
    served.lock().expect("lock").insert(id, tokens);
}

/// Every call that was served stands in the control plane's usage exactly once, with its tokens; and the sums are those of the events.
pub(super) async fn assert_exact(admin: &Admin, organization: &str, served: &BTreeMap<String, (u64, u64)>) {
    let events = eventually("every served call is metered", || async {
        let events = admin.events(organization).await;
        let known: BTreeSet<&str> = events.iter().map(|event| event.request_id.as_str()).collect();
        served.keys().all(|id| known.contains(id.as_str())).then_some(events)
    })
    .await;
    let mut seen = BTreeSet::new();
    for event in &events {
        assert!(seen.insert(&event.request_id), "{} is metered twice", event.request_id);
        if let Some(tokens) = served.get(&event.request_id) {
            assert_eq!((event.prompt_tokens, event.completion_tokens), *tokens, "{}", event.request_id);
            assert_eq!((event.end.as_str(), event.source.as_str()), ("completed", "provider_final"));
        }
    }
    // What is metered and was not served is what the kill interrupted, or what `up` itself sent.
    let total = admin.total(organization).await;
    assert_eq!(total.calls, events.len() as u64, "roll-ups and events agree");
    assert_eq!(total.prompt_tokens, events.iter().map(|event| event.prompt_tokens).sum::<u64>());
    assert_eq!(total.completion_tokens, events.iter().map(|event| event.completion_tokens).sum::<u64>());
    assert_eq!(total.cost_nanos_usd, events.iter().map(|event| event.cost_nanos_usd).sum::<i64>());
    let unserved = events.iter().filter(|event| !served.contains_key(&event.request_id)).count();
    assert!(unserved <= 1 + 8 * 3, "{unserved} events without a served call: more than were in flight");
}

fn restart(process: &Process) -> Owned {
    Owned::start(&process.command, &process.log.with_extension("again.log"))
}

pub(super) async fn ready(process: &Process) {
    eventually("the process is ready again", || async {
        reqwest::get(process.readyz()).await.ok().filter(|answer| answer.status().is_success()).map(|_| ())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r10_a_killed_worker_loses_and_doubles_nothing() {
    let installation = Installation::start();
    let region = installation.region(REGION);
    let admin = Admin::of(REGION, region);
    let load = Load::start(region);
    let mut again: Vec<Owned> = Vec::new();
    for round in 0..3 {
        load.more(100).await;
        let worker = &region.processes.workers[round % 2];
        kill_hard(again.iter().nth_back(1).map_or(worker.pid, Owned::pid));
        // The other worker serves on.
        load.more(50).await;
        again.push(restart(worker));
        ready(worker).await;
    }
    let served = load.finish().await;
    assert!(served.len() > 400);
    assert_exact(&admin, &region.organization, &served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r10_a_call_whose_worker_died_counts_with_what_it_asked() {
    let installation = Installation::start();
    let region = installation.region(REGION);
    let admin = Admin::of(REGION, region);
    let credential = admin.new_credential(&region.organization, "key").await;
    let (organization, endpoint) = (&region.organization, &installation.provider);
    let revision = admin.new_model(organization, "hang", endpoint, "simulated-hang", &credential).await;
    admin.applied(revision).await;
    let application = Application::of(region);
    let said = "word ".repeat(2000);
    let calling =
        tokio::spawn(
            async move { application.chat("hang", &said, false).await.map(|answer| answer.status()) },
        );
    let served = endpoint.replace("/v1", "/simulated/served");
    eventually("the provider has been asked", || async {
        let served: Value = reqwest::get(&served).await.ok()?.json().await.ok()?;
        (served["started"].as_u64()? > served["completed"].as_u64()?).then_some(())
    })
    .await;
    // One of them has the call.
    region.processes.workers.iter().for_each(|worker| kill_hard(worker.pid));
    let again: Vec<Owned> = region.processes.workers.iter().map(restart).collect();
    let event = eventually("the call is metered", || async {
        let events = admin.events(organization).await;
        events.into_iter().find(|event| event.end == "interrupted")
    })
    .await;
    // Ten thousand characters, and some JSON around them.
    assert!((2500..2600).contains(&event.prompt_tokens), "{event:?}");
    assert_eq!((event.source.as_str(), event.completion_tokens), ("estimated", 0));
    eventually("roll-ups and events agree", || async {
        let (total, events) = (admin.total(organization).await, admin.events(organization).await);
        let prompts = events.iter().map(|event| event.prompt_tokens).sum::<u64>();
        (total.estimated_calls == 1 && total.prompt_tokens == prompts).then_some(())
    })
    .await;
    let _how = calling.await;
    drop(again);
}

#[tokio::test(flavor = "multi_thread")]
async fn r9_workers_serve_on_without_their_control_plane_and_nothing_is_lost() {
    let installation = Installation::start();
    let region = installation.region(REGION);
    let load = Load::start(region);
    load.more(100).await;
    let control_plane = &region.processes.control_plane;
    kill_hard(control_plane.pid);
    load.more(200).await;
    let _again = restart(control_plane);
    ready(control_plane).await;
    load.more(100).await;
    let served = load.finish().await;
    let admin = Admin::of(REGION, region);
    eventually("the control plane answers", || async {
        admin.region().get_region(GetRegionRequest {}).await.ok()
    })
    .await;
    assert_exact(&admin, &region.organization, &served).await;
    // Revocations reach the workers again.
    let (id, _key) = admin.new_key(&region.organization).await;
    let revoked = admin.keys().revoke_key(RevokeKeyRequest { id }).await.expect("revoked").into_inner();
    admin.applied(revoked.change.expect("change").revision).await;
}
