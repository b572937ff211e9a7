//! Deployments that the policy admits by name and that lead elsewhere: calls to them, and traps where they would arrive.
//!
//! The names lie under `verify.test` (RFC 6761: a domain that nobody has). An installation takes part by rules for them and by a name server that answers for them,
//! as a local one does; another one refuses the deployments, and then nothing can be tried from here.

use std::{net::SocketAddr, time::Duration};

use bailiwick_domain::spiffe::ProcessRole;
use bailiwick_proto::admin::v1::{
    CreateModelRequest, ListWorkersRequest, WorkerState, model_service_client::ModelServiceClient,
    region_service_client::RegionServiceClient,
};
use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    deploy, is_egress_refused,
    trap::{FORBIDDEN, Trap},
};
use crate::{
    armed::{Armed, TIMEOUT, once, request, say},
    attack::Pair,
    attacks::layer,
    attempt::{Attempt, Probe},
    web::{self, Answer, Ask, Sends},
};

const PAUSE: Duration = Duration::from_millis(20);
/// Calls to a name that changes its answer each time: enough for every worker to be asked more than once.
const REBOUND: usize = 12;

/// Times that another worker is asked.
const OTHERS: usize = 30;

/// What names lead to that the policy does not allow them.
const NAMES: [(&str, &str); 4] = [
    ("this machine", "loopback"),
    ("a private address", "private"),
    ("a link-local address", "link-local"),
    ("a cloud's metadata address", "metadata"),
];

pub(super) async fn run(pair: Pair<'_>) -> Vec<Attempt> {
    match Bait::laid(pair.target).await {
        Ok(bait) => bait.tried().await,
        Err(why) => vec![
            resolving("somewhere").not_attempted(&why),
            rebinding().not_attempted(&why),
            redirecting().not_attempted(&why),
        ],
    }
}

fn resolving(what: &str) -> Probe {
    let expected = "502 egress_refused by a worker, and nobody arrives";
    Probe::new(format!("a call to a name that resolves to {what}"), layer::WORKER_EGRESS, expected)
}

fn rebinding() -> Probe {
    let expected = "the address that was judged is dialled; the other one is refused with 502 egress_refused, and nobody arrives there";
    Probe::new("calls to a name that changes its answer each time", layer::WORKER_EGRESS, expected)
}

fn redirecting() -> Probe {
    let expected = "502 provider_invalid_response, without a Location, and nobody arrives where it leads";
    Probe::new("a call to a provider that redirects outside", layer::WORKER_REDIRECT, expected)
}

/// Deployments that workers know, and traps where they lead.
struct Bait<'a> {
    region: &'a Armed,
    router: &'a str,
    /// At the address that rebinding names may have, and on the same port at the one that they may not.
    near: Trap,
    far: Trap,
    redirecting: Trap,
    /// Public models, in the order of [`NAMES`].
    names: Vec<String>,
    rebound: String,
    redirected: String,
}

impl<'a> Bait<'a> {
    /// The error says why nothing can be tried.
    async fn laid(region: &'a Armed) -> Result<Self, String> {
        let router = region.access.router.as_deref().ok_or("the context names no router")?;
        let allowed = region.account.provider.ok_or("the region has no provider with an address")?;
        let near = Trap::set(SocketAddr::new(allowed, 0)).await?;
        let far = Trap::set(SocketAddr::new(FORBIDDEN, near.address.port())).await?;
        let redirecting = Trap::redirecting(allowed, &far).await?;
        let (mut names, mut newest, port) = (Vec::new(), 0, near.address.port());
        for (_, name) in NAMES {
            let (model, revision) = model(region, &format!("https://{name}.verify.test:{port}/v1")).await?;
            names.push(model);
            newest = newest.max(revision);
        }
        // A name of its own, whose turns nobody else takes.
        let rebinding = format!("https://rebind.{:08x}.rebind.verify.test:{port}/v1", rand::random::<u32>());
        let (rebound, revision) = model(region, &rebinding).await?;
        newest = newest.max(revision);
        let (redirected, revision) = model(region, &format!("http://{}/v1", redirecting.address)).await?;
        applied(region, newest.max(revision)).await?;
        Ok(Self { region, router, near, far, redirecting, names, rebound, redirected })
    }

    async fn tried(&self) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        for ((what, _), model) in NAMES.iter().zip(&self.names) {
            attempts.push(self.resolves(what, model).await);
        }
        attempts.push(self.rebinds().await);
        attempts.push(self.redirects().await);
        attempts
    }

    async fn resolves(&self, what: &str, model: &str) -> Attempt {
        let (probe, before) = (resolving(what), self.near.caught());
        match self.call(model).await {
            Err(problem) => probe.unanswered(problem),
            Ok(answer) if serves_nobody(&answer) => probe.not_attempted(idle(&answer)),
            Ok(answer) => {
                let arrived = self.near.caught() - before;
                probe.expect(is_refused(&answer) && arrived == 0, format!("{answer}; {arrived} arrived"))
            }
        }
    }

    async fn rebinds(&self) -> Attempt {
        let (probe, near, far) = (rebinding(), self.near.caught(), self.far.caught());
        let (mut refused, mut others) = (0_usize, Vec::new());
        for _ in 0..REBOUND {
            match self.call(&self.rebound).await {
                Err(problem) => return probe.unanswered(problem),
                Ok(answer) if serves_nobody(&answer) => return probe.not_attempted(idle(&answer)),
                Ok(answer) if is_refused(&answer) => refused += 1,
                // The trap closes the connection: it speaks no TLS.
                Ok(answer) if answer.code() == "provider_unreachable" => {}
                Ok(answer) => others.push(answer.to_string()),
            }
        }
        let (near, far) = (self.near.caught() - near, self.far.caught() - far);
        let documented = far == 0 && near > 0 && refused > 0 && others.is_empty();
        let others = others.pop().map(|answer| format!("; {answer}")).unwrap_or_default();
        probe.expect(
            documented,
            format!("{near} arrived where it may lead, {far} where not; {refused} refused{others}"),
        )
    }

    async fn redirects(&self) -> Attempt {
        let (probe, before, far) = (redirecting(), self.redirecting.caught(), self.far.caught());
        match self.call(&self.redirected).await {
            Err(problem) => probe.unanswered(problem),
            Ok(answer) if serves_nobody(&answer) => probe.not_attempted(idle(&answer)),
            Ok(answer) => {
                let (asked, arrived) = (self.redirecting.caught() - before, self.far.caught() - far);
                let stopped = answer.status.as_u16() == 502 && answer.code() == "provider_invalid_response";
                let told = !answer.header("location").is_empty();
                probe.expect(
                    stopped && !told && asked > 0 && arrived == 0,
                    format!("{answer}; {asked} asked the provider, {arrived} followed"),
                )
            }
        }
    }

    /// What a worker makes of a call. One that serves nobody at present says nothing about this; then another is asked.
    async fn call(&self, model: &str) -> Result<Answer, String> {
        let mut answer = self.call_once(model).await?;
        for _ in 0..OTHERS {
            if !serves_nobody(&answer) {
                return Ok(answer);
            }
            sleep(PAUSE).await;
            answer = self.call_once(model).await?;
        }
        Ok(answer)
    }

    async fn call_once(&self, model: &str) -> Result<Answer, String> {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "verify isolation"}]});
        let ask = Ask::post("/v1/chat/completions", Sends::Json(body));
        web::ask(self.router, &ask.bearer(self.region.account.key.expose_secret())).await
    }
}

/// The worker refuses every call now, whatever it is for: its disk is full, say. Where a call may not go, it has not come to judge.
fn serves_nobody(answer: &Answer) -> bool {
    answer.status.as_u16() == 503 && answer.code() != "no_deployment_available"
}

fn idle(answer: &Answer) -> String {
    format!("no worker of the region serves calls now: {answer}")
}

fn is_refused(answer: &Answer) -> bool {
    answer.status.as_u16() == 502 && answer.code() == "egress_refused"
}

/// A public model that is served at this endpoint alone, and the revision that has it.
async fn model(region: &Armed, endpoint: &str) -> Result<(String, u64), String> {
    let deployment = deploy(region, endpoint, "verify-isolation").await.map_err(|status| {
        if is_egress_refused(&status) {
            "the region's egress policy admits no names for this".to_owned()
        } else {
            say(&status)
        }
    })?;
    let name = once();
    let message = CreateModelRequest {
        idempotency_key: once(),
        organization_id: region.account.organization.clone(),
        name: name.clone(),
        deployment_ids: vec![deployment.id],
        ..Default::default()
    };
    let made = ModelServiceClient::new(region.admin.clone()).create_model(request(message)).await;
    let made = made.map_err(|status| say(&status))?.into_inner();
    Ok((name, made.change.unwrap_or_default().revision))
}

/// Waits until every worker that serves has applied a revision.
async fn applied(region: &Armed, revision: u64) -> Result<(), String> {
    let deadline = Instant::now() + TIMEOUT;
    let mut client = RegionServiceClient::new(region.admin.clone());
    loop {
        let listed = client.list_workers(request(ListWorkersRequest::default())).await;
        let workers = listed.map_err(|status| say(&status))?.into_inner().workers;
        let mut serving = workers.iter().filter(|worker| {
            worker.role == ProcessRole::Worker.as_str() && worker.state() == WorkerState::Ready
        });
        if serving.all(|worker| worker.applied_revision >= revision) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err("the workers have not applied the deployments in time".to_owned());
        }
        sleep(PAUSE).await;
    }
}
