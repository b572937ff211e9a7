//! 8: configuration with another region's identifiers, from a server that holds a valid certificate of the worker's own region. So nothing but the
//! worker's own jurisdiction can refuse it.
//!
//! The certificate is issued as whoever has got hold of the region's control plane would have it issued: by its own program. The worker is the
//! region's own program too. It is told a little that is its region's, and among it what is not: first in a snapshot, then in a step of the log.

use async_trait::async_trait;
use bailiwick_domain::key::{ApiKey, Pepper};
use bailiwick_proto::{
    config::v1::{self as config, Resource, ResourceId, resource::Kind},
    convert::resource_id,
    worker::v1::{Batch, Operation, Refusal, operation, subscribe_response::Message},
};
use bailiwick_runtime::identity::Identity;
use serde_json::json;

use super::layer;
use crate::{
    armed::Armed,
    attack::{Attack, Pair},
    attempt::{Attempt, Probe},
    false_control_plane::{FalseControlPlane, Session},
    store_copy::{complaint, folder, run, text},
    web::{Ask, Sends},
    worker_program::WorkerProgram,
};

/// Long enough for a run.
const CERTIFICATE_MINUTES: &str = "10";
/// A name that the policy which the worker is told admits, and that leads to the worker's own machine. Nothing listens on the port.
const INWARD_HOST: &str = "localhost";
const INWARD: &str = "http://localhost:9/v1";
const OUTWARD: &str = "https://verify-isolation.invalid/v1";
const MODEL: &str = "verify-isolation";
const REFUSED_METRIC: &str = "bailiwick_configuration_refused_resources";

pub(super) struct Configuration;

#[async_trait]
impl Attack for Configuration {
    fn number(&self) -> u8 {
        8
    }

    fn name(&self) -> &'static str {
        "foreign configuration from a server of the region"
    }

    async fn run(&self, pair: Pair<'_>) -> Vec<Attempt> {
        match deceive(pair).await {
            Ok(attempts) => attempts,
            Err(outcome) => {
                let what = "a worker of this region that is told the other's configuration";
                let probe = Probe::new(what, layer::WORKER_APPLY, "each foreign resource refused");
                vec![match outcome {
                    Failed::NotTried(why) => probe.not_attempted(why),
                    Failed::NoAnswer(why) => probe.unanswered(why),
                }]
            }
        }
    }
}

/// Why there is nothing to judge.
enum Failed {
    NotTried(String),
    NoAnswer(String),
}

async fn deceive(pair: Pair<'_>) -> Result<Vec<Attempt>, Failed> {
    let identity = certified(pair.target).await.map_err(Failed::NotTried)?;
    let story = Story::new(pair);
    let server = FalseControlPlane::start(identity, story.snapshot()).await.map_err(Failed::NotTried)?;
    let address = server.address.to_string();
    let worker = WorkerProgram::start(pair.target, &address).map_err(Failed::NotTried)?;
    let judged = judge(pair, story, server, &worker).await;
    worker.end().await;
    judged.map_err(Failed::NoAnswer)
}

/// A certificate of the target's control plane. Its key is gone with this run, and it ends by itself.
async fn certified(target: &Armed) -> Result<Identity, String> {
    let state = target.access.state.as_ref().ok_or("the region's programs are not on this machine")?;
    let folder = folder()?;
    let out = folder.path().join("identity");
    let arguments = ["issue-certificate", "--role", "control-plane", "--name", &target.run];
    let more = ["--minutes", CERTIFICATE_MINUTES, "--out", text(&out)?];
    let output = run(state, &[&arguments[..], &more].concat(), &[]).await?;
    if !output.status.success() {
        return Err(format!("no certificate was issued: {}", complaint(&output)));
    }
    Identity::load_dir(&out, target.domain.clone()).map_err(|error| error.to_string())
}

async fn judge(
    pair: Pair<'_>,
    story: Story,
    mut server: FalseControlPlane,
    worker: &WorkerProgram,
) -> Result<Vec<Attempt>, String> {
    // It holds nothing, and takes a snapshot; then it comes back to say what of it it refuses.
    server.session().await?.welcome(true);
    let mut session = server.session().await?;
    let in_snapshot = probes(pair, &story.first, "in a snapshot");
    session.welcome(false);
    session.bookmark(1, story.snapshot().iter());
    let mut attempts = in_snapshot.judge(session.refused_until(1).await?);

    let in_step = probes(pair, &story.second, "in a step of the log");
    session.say(Message::Batch(Batch { from: 1, to: 2, operations: story.step() }));
    attempts.extend(in_step.judge(session.refused_until(2).await?));

    session.bookmark(2, story.everything().iter());
    session.refused_until(2).await?;
    attempts.extend(afterwards(pair, &story, &session, worker).await);
    Ok(attempts)
}

/// What the worker does once it holds what it took: its region's, and nothing else.
async fn afterwards(
    pair: Pair<'_>,
    story: &Story,
    session: &Session,
    worker: &WorkerProgram,
) -> Vec<Attempt> {
    let ask = |key: &ApiKey| Ask::get("/v1/models").bearer(key.expose());
    let here = pair.target.name();
    let mut attempts = Vec::new();
    for (what, key) in [("before", &story.key), ("beside", &story.later_key)] {
        let what = format!("a key of this region that came {what} what is foreign");
        let probe = Probe::new(what, layer::WORKER_APPLY, "served: the last good state stays");
        attempts.push(match worker.ask(&ask(key)).await {
            Ok(answer) => {
                let served = answer.status.is_success() && answer.worker_of() == here;
                probe.expect(served, answer.to_string())
            }
            Err(why) => probe.unanswered(why),
        });
    }
    let what = "a key of this region under an organization of the other";
    let probe = Probe::new(what, layer::WORKER_APPLY, "401 invalid_api_key: the worker has no such key");
    attempts.push(match worker.ask(&ask(&story.adopted_key)).await {
        Ok(answer) => {
            let unknown = answer.status.as_u16() == 401 && answer.code() == "invalid_api_key";
            probe.expect(unknown && answer.worker_of() == here, answer.to_string())
        }
        Err(why) => probe.unanswered(why),
    });
    let what = "a call to a deployment whose name leads to the worker's own machine";
    let probe =
        Probe::new(what, layer::WORKER_DIAL, "egress_refused by the worker, when it has resolved the name");
    let call = json!({"model": MODEL, "messages": [{"role": "user", "content": "verify isolation"}]});
    let call = Ask::post("/v1/chat/completions", Sends::Json(call)).bearer(story.key.expose());
    attempts.push(match worker.ask(&call).await {
        Ok(answer) => probe.expect(answer.code() == "egress_refused", answer.to_string()),
        Err(why) => probe.unanswered(why),
    });
    let expected = story.first.len() + story.second.len();
    let probe = Probe::new(
        "how many resources the worker's metrics call refused",
        layer::WORKER_APPLY,
        format!("{expected}: every foreign one"),
    );
    attempts.push(match worker.metric(REFUSED_METRIC).await {
        Ok(count) => probe.expect(count == expected as u64, count.to_string()),
        Err(why) => probe.unanswered(why),
    });
    let probe = Probe::new("the region that the worker asks for", layer::WORKER_APPLY, "its own");
    attempts.push(probe.expect(session.hello.region == here, session.hello.region.clone()));
    attempts
}

/// Foreign resources on their way, and what has to be said of each.
struct Probes {
    reason: String,
    each: Vec<(Probe, ResourceId)>,
}

fn probes(pair: Pair<'_>, foreign: &[(&'static str, Resource)], way: &str) -> Probes {
    let reason = format!("it belongs to the region {}; this is {}", pair.attacker.code, pair.target.code);
    let expected = format!("refused: {reason}");
    let each = foreign.iter().map(|(what, resource)| {
        let probe = Probe::new(format!("{what}, {way}"), layer::WORKER_APPLY, expected.clone());
        (probe, resource_id(resource).unwrap_or_default())
    });
    Probes { each: each.collect(), reason }
}

impl Probes {
    fn judge(self, refused: Vec<Refusal>) -> Vec<Attempt> {
        let Self { reason, each } = self;
        let judged = each.into_iter().map(|(probe, id)| {
            match refused.iter().find(|refusal| refusal.resource.as_ref() == Some(&id)) {
                Some(refusal) => {
                    probe.expect(refusal.reason == reason, format!("refused: {}", refusal.reason))
                }
                None => probe.expect(false, "the worker applied it"),
            }
        });
        judged.collect()
    }
}

/// What the worker is told.
struct Story {
    /// Its region's, in the snapshot.
    home: Vec<Resource>,
    /// Its region's, in the step.
    later: Resource,
    /// The other region's, in the snapshot.
    first: Vec<(&'static str, Resource)>,
    /// The other region's, in the step.
    second: Vec<(&'static str, Resource)>,
    key: ApiKey,
    later_key: ApiKey,
    /// Of this region by its form, under an organization of the other.
    adopted_key: ApiKey,
}

impl Story {
    fn new(pair: Pair<'_>) -> Self {
        let Pair { attacker, target } = pair;
        let pepper: [u8; 32] = rand::random();
        let generate = || ApiKey::generate(target.code);
        let (key, later_key, adopted_key) = (generate(), generate(), generate());
        let organization = target.minted("org");
        let digest = |key: &ApiKey| key.digest(&Pepper::from_bytes(pepper)).0.to_vec();
        let key_of =
            |key: &ApiKey, organization: &str| api_key(&key.key_id().to_string(), organization, digest(key));
        let (secret, inward) = (target.minted("cred"), target.minted("dep"));
        let home = vec![
            settings(target, pepper),
            an_organization(&organization),
            key_of(&key, &organization),
            credential(&secret, &organization),
            deployment(&inward, &organization, INWARD, &secret),
            model(&target.minted("mdl"), &organization, &inward),
        ];
        let later = key_of(&later_key, &organization);
        let known = |kind: &str| attacker.identifier(kind);
        let unknown = |kind: &str| attacker.minted(kind);
        let mut first = foreign(target, &organization, &known);
        first.push(("the other region's settings", settings(attacker, rand::random())));
        let mut second = foreign(target, &organization, &unknown);
        let what = "a key of this region under an organization of the other";
        second.push((what, key_of(&adopted_key, &attacker.account.organization)));
        Self { home, later, first, second, key, later_key, adopted_key }
    }

    fn snapshot(&self) -> Vec<Resource> {
        self.home.iter().chain(self.first.iter().map(|(_, resource)| resource)).cloned().collect()
    }

    fn step(&self) -> Vec<Operation> {
        let put =
            |resource: &Resource| Operation { operation: Some(operation::Operation::Put(resource.clone())) };
        self.second.iter().map(|(_, resource)| resource).chain([&self.later]).map(put).collect()
    }

    fn everything(&self) -> Vec<Resource> {
        let step = self.second.iter().map(|(_, resource)| resource).chain([&self.later]).cloned();
        self.snapshot().into_iter().chain(step).collect()
    }
}

/// One of each kind, and of each field that can name what is another region's. `theirs` gives identifiers by their prefix.
fn foreign(
    target: &Armed,
    organization: &str,
    theirs: &dyn Fn(&str) -> String,
) -> Vec<(&'static str, Resource)> {
    let ours = |kind: &str| target.minted(kind);
    vec![
        ("an organization of the other region", an_organization(&theirs("org"))),
        ("a key of the other region", api_key(&theirs("key"), organization, vec![0; 32])),
        ("a credential of the other region", credential(&theirs("cred"), organization)),
        ("a credential of an organization of the other", credential(&ours("cred"), &theirs("org"))),
        ("a model of the other region", model(&theirs("mdl"), organization, &ours("dep"))),
        ("a model of an organization of the other", model(&ours("mdl"), &theirs("org"), &ours("dep"))),
        (
            "a model that leads to a deployment of the other",
            model(&ours("mdl"), organization, &theirs("dep")),
        ),
        (
            "a deployment of the other region",
            deployment(&theirs("dep"), organization, OUTWARD, &ours("cred")),
        ),
        (
            "a deployment of an organization of the other",
            deployment(&ours("dep"), &theirs("org"), OUTWARD, &ours("cred")),
        ),
        (
            "a deployment that uses a credential of the other",
            deployment(&ours("dep"), organization, OUTWARD, &theirs("cred")),
        ),
    ]
}

fn resource(kind: Kind) -> Resource {
    Resource { kind: Some(kind) }
}

fn settings(of: &Armed, pepper: [u8; 32]) -> Resource {
    resource(Kind::RegionSettings(config::RegionSettings {
        region_code: of.code.to_string(),
        pepper: pepper.to_vec(),
        egress_rules: vec![config::EgressRule {
            pattern: INWARD_HOST.to_owned(),
            jurisdiction: of.law.clone(),
            private_ranges: Vec::new(),
        }],
        jurisdiction: of.law.clone(),
        ..config::RegionSettings::default()
    }))
}

fn an_organization(id: &str) -> Resource {
    resource(Kind::Organization(config::Organization {
        id: id.to_owned(),
        ..config::Organization::default()
    }))
}

fn api_key(id: &str, organization: &str, digest: Vec<u8>) -> Resource {
    resource(Kind::ApiKey(config::ApiKey {
        id: id.to_owned(),
        organization_id: organization.to_owned(),
        digest,
        ..config::ApiKey::default()
    }))
}

fn credential(id: &str, organization: &str) -> Resource {
    let (id, organization_id) = (id.to_owned(), organization.to_owned());
    resource(Kind::Credential(config::Credential { id, organization_id, secret: "none".to_owned() }))
}

fn model(id: &str, organization: &str, deployment: &str) -> Resource {
    resource(Kind::Model(config::Model {
        id: id.to_owned(),
        organization_id: organization.to_owned(),
        name: MODEL.to_owned(),
        deployment_ids: vec![deployment.to_owned()],
        created_at_micros: 1,
        ..Default::default()
    }))
}

fn deployment(id: &str, organization: &str, endpoint: &str, credential: &str) -> Resource {
    resource(Kind::Deployment(config::Deployment {
        id: id.to_owned(),
        organization_id: organization.to_owned(),
        provider: "openai_compatible".to_owned(),
        endpoint: endpoint.to_owned(),
        upstream_model: MODEL.to_owned(),
        credential_id: credential.to_owned(),
        api_version: String::new(),
        price: None,
    }))
}
