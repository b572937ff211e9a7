//! What `serve` runs, wired: started from the inside out, ended from the outside in.
//!
//! A small runtime of its own carries the configuration, the usage and the certificate; the cores carry calls and nothing else. So neither
//! waits for the other.

use std::{
    process::ExitCode,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use bailiwick_domain::{
    spiffe::ProcessRole,
    time::{Clock, SystemClock},
};
use bailiwick_quota::policy::Policy;
use bailiwick_runtime::{
    drain::{self, Watch},
    enrollment,
    grpc::channel,
    identity::{Acceptor, Connector, Identity},
    lifecycle::{self, Tasks},
    membership::{Member, serve_while_a_member},
    ops::{Condition, Ops},
    outbound::{Resolver, authorities},
    resources,
    serving::{HttpLimits, Listen, Serving, Transport, serve_per_core},
    telemetry,
};
use http::HeaderValue;
use tokio::sync::watch;
use ulid::Ulid;

use crate::{
    gateway::{Gateway, Here},
    limits::{Exchanger, Lent, Limiter, Names},
    memory::Budget,
    metering::{FolderLock, Journals, Meter, Reporter, Writer, say_standing},
    metrics::{Counted, WorkerMetrics},
    settings::Settings,
    snapshot::{
        SnapshotHandle,
        subscription::{About, Subscriber},
    },
    tokens::{Exchange, Keeper, Tokens},
    upstream::{Dialler, Upstream},
};

/// How long usage may take to be sent at the end; what is left waits for the next start.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// Who may call a worker directly: routers for tenants, operators to see for themselves.
const CALLERS: [ProcessRole; 2] = [ProcessRole::Router, ProcessRole::Operator];

/// Serves until a signal or a crash.
pub(crate) async fn serve(settings: Settings) -> anyhow::Result<ExitCode> {
    let region = settings.region.region().name.clone();
    let _telemetry =
        telemetry::init(&settings.telemetry, &settings.resolver, "bailiwick-worker", region.as_str())?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let descriptors = resources::take_descriptors();
    tracing::info!(descriptors, "a call that is under way takes two file descriptors");

    // First, so that `/readyz` says what a worker that cannot enroll is waiting for.
    let ops = Ops::new();
    let conditions = Conditions::register(&ops);
    let ops_server = ops.bind(settings.ops.listen).await.context("ops.listen cannot be opened")?;
    let mut tasks = Tasks::new();
    tasks.spawn("ops", ops_server.run(tasks.stopping().cancelled_owned()));

    conditions.identity.not_ready("waiting for a certificate");
    let identity = enrollment::establish(
        ProcessRole::Worker,
        &settings.region,
        &settings.control_plane,
        &settings.identity,
        &*clock,
    )
    .await?;
    conditions.identity.ready();

    let worker = Worker { settings, clock, ops, conditions, identity };
    let drain_timeout = worker.settings.drain.timeout;
    let (signal, _lock) = worker.start(&mut tasks)?;
    Ok(lifecycle::run_until_signalled(tasks, signal, drain_timeout).await?)
}

/// What `/readyz` lists.
struct Conditions {
    identity: Condition,
    configuration: Condition,
    journal: Condition,
    serving: Condition,
}

impl Conditions {
    fn register(ops: &Ops) -> Self {
        let register = |name| ops.readiness().register(name);
        let (identity, configuration) = (register("identity"), register("configuration"));
        configuration.not_ready("no configuration has come from the control plane yet");
        Self { identity, configuration, journal: register("journal"), serving: register("serving") }
    }
}

/// A worker that has its certificate.
struct Worker {
    settings: Settings,
    clock: Arc<dyn Clock>,
    ops: Ops,
    conditions: Conditions,
    identity: Identity,
}

impl Worker {
    /// Starts everything. The folder is locked as long as the lock is held.
    fn start(self, tasks: &mut Tasks) -> anyhow::Result<(drain::Signal, FolderLock)> {
        let (signal, watch) = drain::channel();
        let snapshot = SnapshotHandle::default();
        let journal = &self.settings.journal;
        let cores = self.settings.serve.cores.get();
        let Journals { writers, queue, syncer, account, lock, lives } =
            Journals::open(&journal.directory, cores, journal.max_bytes, self.clock.now())?;
        let memory = Budget::new(self.settings.serve.max_held_bytes, cores);
        // Before anything that earlier processes left is sent and deleted.
        let names = Names::left_in(&journal.directory, &lock, &lives);
        let lent = Arc::new(Lent::new(Policy::default(), names.earlier()));
        let metrics = WorkerMetrics::new(
            cores,
            snapshot.clone(),
            Arc::clone(&account),
            Arc::clone(&memory),
            Arc::clone(&lent),
        );
        self.ops.register(|registry| metrics.register(registry));

        let control_plane = Connector::new(self.identity.clone(), ProcessRole::ControlPlane)?;
        // A channel is a connection: none of these waits behind another.
        let connection = || channel(&self.settings.control_plane.address, &control_plane);
        let subscriber = Subscriber::new(
            self.settings.region.jurisdiction.clone(),
            self.about(),
            connection()?,
            connection()?,
            snapshot.clone(),
        );
        let reporter = Reporter::new(connection()?, queue);
        let jurisdiction = self.settings.region.jurisdiction.clone();
        let exchanger =
            Exchanger::new(connection()?, jurisdiction, Arc::clone(&lent), names, snapshot.clone());

        // Opened last of what can fail: whoever reaches the listener is answered.
        let (serving, keeper) = self.serve(writers, &snapshot, &metrics, memory, lent, watch.clone())?;
        let stopping = tasks.stopping();
        tasks.spawn("journal standing", say_standing(account, self.conditions.journal, stopping.clone()));
        let following = subscribe(
            subscriber,
            self.conditions.configuration,
            snapshot,
            self.identity.clone(),
            watch.clone(),
        );
        tasks.spawn("configuration", following);
        tasks.spawn("usage", reporter.run(stopping.clone(), FLUSH_TIMEOUT));
        tasks.spawn("limits", exchanger.run(stopping.clone()));
        tasks.spawn("tokens", keeper.run(stopping.clone()));
        tasks.spawn("journal", syncer.run(journal.fsync_interval, stopping.clone()));
        let member = Member {
            identity: self.identity.clone(),
            channel: connection()?,
            recovery: enrollment::recovery(&self.identity, &self.settings.control_plane)?,
            region: self.settings.region.region().name.to_string(),
            clock: self.clock,
            condition: self.conditions.identity,
        };
        member.maintain(tasks, &self.ops);
        tasks.spawn("serving", serve_while_a_member(serving, self.identity, stopping));
        self.conditions.serving.ready();
        tasks.spawn("drain", say_draining(watch, self.conditions.serving));
        Ok((signal, lock))
    }

    fn dialler(&self) -> anyhow::Result<Dialler> {
        let upstream = &self.settings.upstream;
        let trusted = upstream.ca_file.as_deref().map(authorities).transpose();
        let trusted = trusted.context("upstream.ca_file")?.unwrap_or_default();
        Ok(Dialler::new(Resolver::new(&self.settings.resolver)?, &trusted, upstream.http2)?)
    }

    fn serve(
        &self,
        writers: Vec<Writer>,
        snapshot: &SnapshotHandle,
        metrics: &WorkerMetrics,
        memory: Arc<Budget>,
        lent: Arc<Lent>,
        drain: Watch,
    ) -> anyhow::Result<(Serving, Keeper)> {
        let serve = &self.settings.serve;
        let transport = Transport::Mutual(Acceptor::new(self.identity.clone(), &CALLERS)?);
        let plain = serve.plain_listen.map(|address| Listen {
            address,
            transport: Transport::Plain,
            preface_from: None,
        });
        let listeners = std::iter::once(Listen { address: serve.listen, transport, preface_from: None })
            .chain(plain)
            .collect();
        let limits = HttpLimits { max_connections: serve.max_connections_per_core, ..HttpLimits::default() };

        let here = self.here()?;
        // Made here, so that names are asked for beside the cores.
        let dialler = self.dialler()?;
        let exchange = Exchange::new(dialler.clone(), snapshot.clone(), Arc::clone(&self.clock));
        let (tokens, keeper) = Tokens::new(exchange);
        let (max_body_bytes, max_upload_bytes) = (serve.max_body_bytes, serve.max_upload_bytes);
        let timeouts = (&self.settings.upstream).into();
        let (snapshots, metrics) = (snapshot.clone(), metrics.clone());
        let writers = Mutex::new(writers);
        let serving = serve_per_core(listeners, serve.cores.get(), limits, drain, move |core| {
            let writer = writers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let metrics = metrics.core(core.index);
            // Of its own, as its name of the region is: clones are counted, and counters that cores share go to and fro between them.
            let clock: Arc<dyn Clock> = Arc::new(SystemClock);
            let meter = Meter::new(writer, Arc::clone(&clock));
            let upstream = Upstream::new(
                dialler.clone(),
                meter.clone(),
                tokens.clone(),
                timeouts,
                Arc::clone(&clock),
                metrics.clone(),
                rand::random(),
            );
            // It ends with its meter, or with this core's runtime.
            drop(tokio::task::spawn_local(meter.recovery()));
            let gateway = Gateway {
                snapshots: snapshots.clone(),
                limiter: Limiter::new(Arc::clone(&lent), metrics.clone()),
                meter,
                upstream: Rc::new(upstream),
                memory: memory.share(),
                here: here.for_one_core(),
                clock: Arc::clone(&clock),
                max_body_bytes,
                max_upload_bytes,
            };
            Counted::new(gateway, metrics)
        })?;
        for (address, how) in serving.addresses().iter().zip(["mutual TLS", "plain HTTP"]) {
            let identity = self.identity.spiffe_id();
            tracing::info!(%address, how, cores = serve.cores, %identity, "serving");
        }
        Ok((serving, keeper))
    }

    fn here(&self) -> anyhow::Result<Here> {
        let region = &self.settings.region;
        Ok(Here {
            jurisdiction: region.jurisdiction.clone(),
            regions: region.regions.clone(),
            name: HeaderValue::try_from(region.region().name.as_str())?,
        })
    }

    fn about(&self) -> About {
        About {
            build: env!("CARGO_PKG_VERSION").to_owned(),
            advertise_address: self.settings.serve.advertise.clone(),
            boot_id: Ulid::from_parts(self.clock.now().as_millis(), rand::random()).to_string(),
        }
    }
}

/// Subscribes until the drain: routers then see that this worker is gone. A worker that the region has shut out forgets what it was told: the pepper,
/// the keys and the providers' secrets are none of its business any more.
async fn subscribe(
    subscriber: Subscriber,
    configuration: Condition,
    snapshot: SnapshotHandle,
    identity: Identity,
    drain: Watch,
) {
    let (ready, draining) = (subscriber.ready(), drain.clone());
    tokio::select! {
        () = subscriber.run() => {}
        () = say_configured(ready, configuration.clone()) => {}
        () = draining.signalled() => {}
        () = identity.disowned() => {
            // The subscriber is gone by now: nothing that is forgotten comes back.
            snapshot.forget();
            configuration.not_ready("forgotten, because this worker was revoked");
            drain.signalled().await;
        }
    }
}

async fn say_configured(mut ready: watch::Receiver<bool>, configuration: Condition) {
    if ready.wait_for(|ready| *ready).await.is_ok() {
        configuration.ready();
    }
    std::future::pending().await
}

async fn say_draining(drain: Watch, serving: Condition) {
    drain.signalled().await;
    serving.not_ready("draining");
}
