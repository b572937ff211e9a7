//! A gateway that really serves, its tenant, and callers.

use std::{
    fs::File,
    path::Path,
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};

use bailiwick_domain::{
    id::{CredentialId, DeploymentId, Id, ModelId, OrganizationId},
    key::{ApiKey, Pepper},
    time::SystemClock,
};
use bailiwick_proto::config::v1::{self as config, Resource, resource::Kind};
use bailiwick_quota::policy::Policy;
use bailiwick_runtime::{
    configuration::ResolverSection,
    drain::{self, Signal},
    outbound::Resolver,
    serving::{HttpLimits, Listen, Serving, Transport, serve_per_core},
};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinSet};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::super::*;
use crate::{
    limits::Lent,
    memory::Budget,
    metering::{
        Journals,
        settled::{self, Metered},
    },
    metrics::CoreMetrics,
    polling::eventually,
    tokens::{Exchange, Tokens},
    upstream::{Dialler, Timeouts},
};
use bytes::Bytes;
use http::HeaderMap;

pub(super) const MAX_BODY: usize = 4096;
pub(super) const MAX_UPLOAD: usize = 26 << 20;
const SECRET: &str = "sk-provider-secret";

pub(super) struct World {
    pub(super) snapshots: SnapshotHandle,
    pub(super) jurisdiction: Jurisdiction,
    pub(super) organization: OrganizationId,
    pub(super) key: ApiKey,
    pub(super) credential: CredentialId,
    pub(super) deployments: Vec<DeploymentId>,
    /// The model `public`.
    pub(super) model: ModelId,
    pub(super) pepper: [u8; 32],
    pub(super) lent: Arc<Lent>,
    folder: tempfile::TempDir,
    _keeping: JoinSet<()>,
    serving: Serving,
    _signal: Signal,
}

/// What a worker is told, or meets.
struct Set<'a> {
    max_body_bytes: usize,
    memory_bytes: usize,
    trusted: &'a [CertificateDer<'static>],
    has_full_disk: bool,
}

impl Default for Set<'_> {
    fn default() -> Self {
        Self { max_body_bytes: MAX_BODY, memory_bytes: 1 << 20, trusted: &[], has_full_disk: false }
    }
}

/// What a caller saw.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
    /// Whether the body came to its end.
    pub(super) whole: bool,
}

impl Seen {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The error's code, whose shape and texts are checked: nothing that was said stands in them.
    pub(super) fn code(&self) -> String {
        assert!(!self.body.contains("canary"), "{}", self.body);
        let error = self.json()["error"].clone();
        assert!(error["message"].is_string() && error["type"].is_string(), "{error}");
        assert_eq!(error["request_id"], self.headers["x-request-id"].to_str().unwrap());
        error["code"].as_str().unwrap().to_owned()
    }
}

impl World {
    /// A tenant with the model `public`, served at these endpoints as `upstream`.
    pub(super) fn start(endpoints: &[String]) -> Self {
        Self::with_idle(endpoints, Duration::from_secs(20))
    }

    pub(super) fn with_idle(endpoints: &[String], idle: Duration) -> Self {
        Self::with(endpoints, idle, resolver(&[]))
    }

    /// Asks these name servers.
    pub(super) fn with(endpoints: &[String], idle: Duration, resolver: ResolverSection) -> Self {
        Self::made(endpoints, idle, resolver, &Set::default())
    }

    /// Takes bodies that no connection's buffers hold.
    pub(super) fn roomy(endpoints: &[String]) -> Self {
        let set = Set { max_body_bytes: 16 << 20, memory_bytes: 256 << 20, ..Set::default() };
        Self::made(endpoints, Duration::from_secs(20), resolver(&[]), &set)
    }

    /// Takes these certificates for authorities'.
    pub(super) fn trusting(
        endpoints: &[String],
        idle: Duration,
        trusted: &[CertificateDer<'static>],
    ) -> Self {
        let set = Set { memory_bytes: 64 << 20, trusted, ..Set::default() };
        Self::made(endpoints, idle, resolver(&[]), &set)
    }

    /// The same, when the disk has begun to take nothing.
    pub(super) fn with_full_disk(endpoints: &[String], trusted: &[CertificateDer<'static>]) -> Self {
        let set = Set { trusted, has_full_disk: true, ..Set::default() };
        Self::made(endpoints, Duration::from_secs(20), resolver(&[]), &set)
    }

    fn made(endpoints: &[String], idle: Duration, resolver: ResolverSection, set: &Set<'_>) -> Self {
        let &Set { max_body_bytes, memory_bytes, trusted, has_full_disk } = set;
        let regions = Regions::builtin();
        let home: Url = "https://use1.example/".parse().unwrap();
        let regions = regions.with_endpoint(&regions.by_name_str("us-east-1").unwrap().name.clone(), home);
        let jurisdiction = Jurisdiction::of(regions.by_name_str("eu-central-1").unwrap());
        let organization = jurisdiction.mint_random(SystemClock.now()).into_inner();
        let here = Here {
            jurisdiction: jurisdiction.clone(),
            regions,
            name: HeaderValue::from_static("eu-central-1"),
        };
        let folder = tempfile::tempdir().unwrap();
        let mut journals = Journals::open(folder.path(), 1, 1 << 20, SystemClock.now()).unwrap();
        if has_full_disk {
            let full = File::options().write(true).open("/dev/full").unwrap();
            let _good = journals.writers[0].write_to(Arc::new(full));
        }
        let snapshots = SnapshotHandle::default();
        let (signal, watch) = drain::channel();
        let listen = Listen {
            address: "127.0.0.1:0".parse().unwrap(),
            transport: Transport::Plain,
            preface_from: None,
        };
        let limits = Timeouts { connect: Duration::from_secs(5), first_byte: idle, idle };
        let (handle, writers, here) = (snapshots.clone(), Mutex::new(journals.writers), Arc::new(here));
        let dialler = Dialler::new(Resolver::new(&resolver).unwrap(), trusted, true).unwrap();
        let exchange = Exchange::new(dialler.clone(), snapshots.clone(), Arc::new(SystemClock));
        let (tokens, keeper) = Tokens::new(exchange.within(Duration::from_millis(500)));
        let mut keeping = JoinSet::new();
        keeping.spawn(keeper.run(CancellationToken::new()));
        let lent = Arc::new(Lent::new(Policy::default(), Vec::new()));
        let holder = Arc::clone(&lent);
        let serving = serve_per_core(vec![listen], 1, HttpLimits::default(), watch, move |_core| {
            let clock: Arc<dyn Clock> = Arc::new(SystemClock);
            let meter = Meter::new(writers.lock().unwrap().pop(), Arc::clone(&clock));
            Gateway {
                snapshots: handle.clone(),
                limiter: Limiter::new(Arc::clone(&holder), CoreMetrics::default()),
                meter: meter.clone(),
                upstream: Rc::new(Upstream::new(
                    dialler.clone(),
                    meter,
                    tokens.clone(),
                    limits,
                    Arc::clone(&clock),
                    CoreMetrics::default(),
                    7,
                )),
                here: Arc::clone(&here),
                clock,
                memory: Budget::new(memory_bytes, 1).share(),
                max_body_bytes,
                max_upload_bytes: MAX_UPLOAD,
            }
        });
        let world = Self {
            snapshots,
            key: ApiKey::generate(jurisdiction.code()),
            credential: jurisdiction.mint_random(SystemClock.now()).into_inner(),
            model: jurisdiction.mint_random(SystemClock.now()).into_inner(),
            deployments: endpoints
                .iter()
                .map(|_| jurisdiction.mint_random(SystemClock.now()).into_inner())
                .collect(),
            jurisdiction,
            organization,
            pepper: [7; 32],
            lent,
            folder,
            _keeping: keeping,
            serving: serving.unwrap(),
            _signal: signal,
        };
        world.configure(endpoints);
        world
    }

    fn configure(&self, endpoints: &[String]) {
        let (deployments, id) = (&self.deployments, self.organization.to_string());
        let all = endpoints.iter().zip(deployments).map(|(endpoint, id)| self.deployment(*id, endpoint));
        self.put([
            self.settings(&["127.0.0.1", "localhost"], &["127.0.0.0/8", "::1/128"]),
            Kind::Organization(config::Organization { id, suspended: false, ..Default::default() }),
            self.api_key(&self.key, &[]),
            self.credential(SECRET),
            self.model(self.model, "public", deployments, |_| {}),
        ]);
        self.put(all);
    }

    /// The provider's secret.
    pub(super) fn credential(&self, secret: &str) -> Kind {
        Kind::Credential(config::Credential {
            id: self.credential.to_string(),
            organization_id: self.organization.to_string(),
            secret: secret.into(),
        })
    }

    /// A model of this name, served by these deployments, with what else is said of it.
    pub(super) fn model(
        &self,
        id: ModelId,
        name: &str,
        deployments: &[DeploymentId],
        more: impl FnOnce(&mut config::Model),
    ) -> Kind {
        let mut model = config::Model {
            id: id.to_string(),
            organization_id: self.organization.to_string(),
            name: name.into(),
            deployment_ids: deployments.iter().map(ToString::to_string).collect(),
            created_at_micros: 1_700_000_000_000_000,
            ..config::Model::default()
        };
        more(&mut model);
        Kind::Model(model)
    }

    pub(super) fn put(&self, kinds: impl IntoIterator<Item = Kind>) {
        self.snapshots
            .put_all(&self.jurisdiction, kinds.into_iter().map(|kind| Resource { kind: Some(kind) }));
    }

    pub(super) fn id<K: bailiwick_domain::id::Kind>(&self) -> Id<K> {
        self.jurisdiction.mint_random(SystemClock.now()).into_inner()
    }

    pub(super) fn settings(&self, hosts: &[&str], ranges: &[&str]) -> Kind {
        Kind::RegionSettings(config::RegionSettings {
            region_code: self.jurisdiction.code().to_string(),
            pepper: self.pepper.to_vec(),
            egress_rules: hosts.iter().map(|host| rule(host, "eu", ranges)).collect(),
            jurisdiction: "eu".into(),
            ..config::RegionSettings::default()
        })
    }

    pub(super) fn api_key(&self, key: &ApiKey, allowed: &[&str]) -> Kind {
        Kind::ApiKey(config::ApiKey {
            id: key.key_id().to_string(),
            organization_id: self.organization.to_string(),
            digest: key.digest(&Pepper::from_bytes(self.pepper)).0.to_vec(),
            expires_at_micros: 0,
            allowed_models: allowed.iter().map(ToString::to_string).collect(),
            allowed_ranges: Vec::new(),
        })
    }

    /// A nano-dollar a token, so that every token shows.
    pub(super) fn deployment(&self, id: DeploymentId, endpoint: &str) -> Kind {
        self.deployment_of("openai_compatible", id, endpoint)
    }

    /// The same, at a provider of this kind.
    pub(super) fn deployment_of(&self, provider: &str, id: DeploymentId, endpoint: &str) -> Kind {
        Kind::Deployment(config::Deployment {
            id: id.to_string(),
            organization_id: self.organization.to_string(),
            provider: provider.into(),
            endpoint: endpoint.into(),
            upstream_model: "upstream".into(),
            credential_id: self.credential.to_string(),
            api_version: String::new(),
            price: Some(config::Price {
                input_nanos_usd_per_million: 1_000_000,
                output_nanos_usd_per_million: 1_000_000,
                ..config::Price::default()
            }),
        })
    }

    pub(super) async fn call(&self, body: &str) -> Seen {
        self.send(self.post("/v1/chat/completions", body)).await
    }

    pub(super) fn post(&self, path: &str, body: &str) -> http::Request<Full<Bytes>> {
        http::Request::post(path)
            .header("host", "worker")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", self.key.expose()))
            .body(Full::from(body.to_owned()))
            .unwrap()
    }

    pub(super) async fn send(&self, request: http::Request<Full<Bytes>>) -> Seen {
        let mut callers = JoinSet::new();
        let (head, mut body): (_, Incoming) = self.begin(&mut callers, request).await.into_parts();
        let (mut bytes, mut whole) = (Vec::new(), true);
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap()),
                Err(_) => {
                    whole = false;
                    break;
                }
            }
        }
        Seen {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8(bytes).unwrap(),
            whole,
        }
    }

    /// The caller leaves when `callers` is dropped.
    pub(super) async fn begin(
        &self,
        callers: &mut JoinSet<()>,
        request: http::Request<Full<Bytes>>,
    ) -> Response<Incoming> {
        let stream = TcpStream::connect(self.address()).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        callers.spawn(async move {
            let _how = connection.await;
        });
        sender.send_request(request).await.unwrap()
    }

    pub(super) fn address(&self) -> std::net::SocketAddr {
        self.serving.addresses()[0]
    }

    /// The events that were recorded, once there are so many.
    pub(super) async fn metered(&self, count: usize) -> Vec<Metered> {
        eventually(|| settled::events(self.folder()).len() >= count).await;
        let events = settled::events(self.folder());
        assert_eq!(events.len(), count);
        events
    }

    pub(super) fn metered_now(&self) -> Vec<Metered> {
        settled::events(self.folder())
    }

    pub(super) fn started_now(&self) -> Vec<Metered> {
        settled::started(self.folder())
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// A rule, as it is sent.
pub(super) fn rule(pattern: &str, jurisdiction: &str, ranges: &[&str]) -> config::EgressRule {
    config::EgressRule {
        pattern: pattern.into(),
        jurisdiction: jurisdiction.into(),
        private_ranges: ranges.iter().map(ToString::to_string).collect(),
    }
}

/// Answers are kept for no time at all.
pub(super) fn resolver(nameservers: &[std::net::SocketAddr]) -> ResolverSection {
    let (timeout, nothing) = (Duration::from_secs(2), Duration::ZERO);
    ResolverSection { nameservers: nameservers.to_vec(), timeout, min_ttl: nothing, max_ttl: nothing }
}
