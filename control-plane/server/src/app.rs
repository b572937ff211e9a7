//! What `serve` runs, wired: opened from the inside out, ended from the outside in.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use bailiwick_coordination::InProcess;
use bailiwick_core::{
    authority::AuthorityChange,
    configuration::ConfigurationReader,
    control_plane::ControlPlane,
    destruction::Destruction,
    enrollment::Enrollment,
    expiry::Expiry,
    fleet::Fleet,
    ports::coordination::Coordination,
    pricing,
    rotation::Rotations,
    usage_intake::{UsageIntake, refusal::UsageRefusals},
};
use bailiwick_runtime::{
    drain,
    lifecycle::{self, Tasks},
    ops::{Condition, Ops},
    telemetry,
};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    configuration::{Log, encode, follow::Follower, metrics::LogMetrics, subscription::Terms},
    listeners::{self, Listeners, ProcessServices},
    metrics::{RotationMetrics, TaskMetrics, UsageMetrics},
    own_identity::OwnIdentity,
    quota::{Desk, QuotaMetrics},
    region::{self, Region},
    settings::Settings,
    tasks,
    trust::TrustFollower,
    worker::{
        configuration::ConfigurationGrpc, discovery::DiscoveryGrpc, enrollment::EnrollmentGrpc,
        quota::QuotaGrpc, renewal::RenewalGrpc, trust::TrustGrpc, usage,
    },
};

/// How long streams and calls may take to finish after the first signal.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until a signal or a crash.
pub(crate) async fn serve(settings: Settings) -> anyhow::Result<ExitCode> {
    let name = settings.region.region().name.clone();
    let _telemetry =
        telemetry::init(&settings.telemetry, &settings.resolver, "bailiwick-control-plane", name.as_str())?;
    let region = Region::open(&settings).await?;
    let store = region.ground.sql.clone();
    let served = Serving::start(settings, region).await?.run().await;
    // Last, so that what was under way could still be written.
    store.close().await;
    served
}

/// Everything that a serving control plane is made of.
struct Serving {
    settings: Settings,
    region: Region,
    ops: Ops,
    own: OwnIdentity,
    listeners: Listeners,
    control_plane: Arc<ControlPlane>,
    enrollment: Arc<Enrollment>,
    follower: Follower,
    trust: TrustFollower,
    log: Arc<Log>,
    log_metrics: LogMetrics,
    ready: Condition,
    drain: CancellationToken,
    streams: TaskTracker,
}

impl Serving {
    async fn start(settings: Settings, region: Region) -> anyhow::Result<Self> {
        let ops = Ops::new();
        let ready = ops.readiness().register("serving");
        let actor = region::actor(&settings)?;
        let authority = Arc::clone(&region.authority);
        let own =
            OwnIdentity::establish(&settings.identity, actor, authority, Arc::clone(&region.ground.clock))?;
        let listeners = Listeners::bind(
            &own.identity,
            settings.admin,
            settings.workers,
            settings.enrollment,
            settings.tokens,
        )
        .await?;

        let revision = region.ground.store.revision().await?;
        let coordination: Arc<dyn Coordination> = Arc::new(InProcess::new(revision));
        let fleet = Fleet::starting(region.ground.clock.now(), settings.configuration.lease);
        let control_plane = Arc::new(region.control_plane(&settings, coordination, Arc::new(fleet)));
        // Before anybody is let in: whoever was revoked while this process was off stays out.
        let trust = TrustFollower::start(&control_plane.parts, own.clone())
            .await
            .context("whom the region trusts cannot be read")?;
        // A region that was made before there were tokens has no key for them yet.
        region.ground.token_keys(&settings)?.tend().await.context("the token keys cannot be tended")?;
        let log_metrics = LogMetrics::default();
        ops.register(|registry| log_metrics.register(registry));
        let follower = follower(&settings, &region, log_metrics.clone()).await?;
        Ok(Self {
            enrollment: Arc::new(region.enrollment(&settings)),
            log: follower.log(),
            drain: CancellationToken::new(),
            streams: TaskTracker::new(),
            settings,
            region,
            ops,
            own,
            listeners,
            control_plane,
            follower,
            trust,
            log_metrics,
            ready,
        })
    }

    async fn run(self) -> anyhow::Result<ExitCode> {
        let (tasks, signal) = self.spawn().await?;
        Ok(lifecycle::run_until_signalled(tasks, signal, DRAIN_TIMEOUT).await?)
    }

    /// Starts everything.
    async fn spawn(self) -> anyhow::Result<(Tasks, drain::Signal)> {
        let ops_server =
            self.ops.bind(self.settings.ops.listen).await.context("ops.listen cannot be opened")?;
        let (signal, watch) = drain::channel();
        let mut tasks = Tasks::new();
        let stopping = tasks.stopping();
        tasks.spawn("ops", ops_server.run(stopping.clone().cancelled_owned()));

        self.spawn_jobs(&mut tasks)?;
        let processes = self.process_services(&mut tasks);
        let admin = listeners::admin_routes(&self.control_plane).await?;
        let enrollment = EnrollmentGrpc {
            enrollment: Arc::clone(&self.enrollment),
            regions: self.settings.region.regions.clone(),
        };
        let revisions = self.control_plane.parts.coordination.revisions();
        tasks.spawn("configuration log", self.follower.run(revisions, stopping.clone()));
        tasks.spawn("trust", self.trust.run(stopping));

        let (drain, held) = (self.drain.clone(), watch.clone());
        tracing::info!(
            region = %self.settings.region.region().name,
            admin = %self.listeners.admin.address()?,
            workers = %self.listeners.workers.address()?,
            enrollment = %self.listeners.enrollment.address()?,
            "serving"
        );
        let processes = processes.routes(&self.control_plane).await;
        let uses = || Arc::clone(&self.control_plane);
        if let Some(listener) = self.listeners.tokens {
            tracing::info!(tokens = %listener.address()?, "serving callers with bearer tokens");
            let tokens = listeners::token_routes(&self.control_plane).await?;
            tasks.spawn("token API", listener.serve(uses(), tokens, drain.clone(), held.clone()));
        }
        tasks.spawn("admin API", self.listeners.admin.serve(uses(), admin, drain.clone(), held.clone()));
        let workers = self.listeners.workers.serve(uses(), processes, drain.clone(), held.clone());
        tasks.spawn("worker API", workers);
        let enrollment = listeners::enrollment_routes(enrollment);
        tasks.spawn("enrollment", self.listeners.enrollment.serve(uses(), enrollment, drain.clone(), held));
        self.ready.ready();
        tasks.spawn("drain", drain_when_told(watch, self.ready, drain, self.streams));
        Ok((tasks, signal))
    }

    fn process_services(&self, tasks: &mut Tasks) -> ProcessServices {
        let parts = &self.control_plane.parts;
        let usage_metrics = UsageMetrics::default();
        self.ops.register(|registry| usage_metrics.register(registry));
        let (intake, writer) = UsageIntake::new(Arc::clone(&parts.store));
        tasks.spawn("usage intake", writer.run());
        let (store, vault, clock) =
            (Arc::clone(&parts.store), Arc::clone(&parts.vault), Arc::clone(&parts.clock));
        let usage = usage::Parts {
            enrollment: Arc::clone(&self.enrollment),
            jurisdiction: parts.jurisdiction.clone(),
            regions: parts.regions.clone(),
            intake,
            refusals: UsageRefusals::new(store, vault, clock),
            metrics: usage_metrics,
            drain: self.drain.clone(),
        };
        let configuration = &self.settings.configuration;
        let quota_metrics = QuotaMetrics::default();
        self.ops.register(|registry| quota_metrics.register(registry));
        let desk = Desk {
            store: Arc::new(self.region.ground.sql.clone()),
            coordination: Arc::clone(&parts.coordination),
            clock: Arc::clone(&parts.clock),
            metrics: quota_metrics,
            stop: tasks.stopping(),
        };
        let (quota, lending) = desk.open();
        tasks.spawn("quota", lending);
        self.control_plane.show_limit_use(Arc::new(quota.clone()));
        ProcessServices {
            quota: QuotaGrpc {
                control_plane: Arc::clone(&self.control_plane),
                enrollment: Arc::clone(&self.enrollment),
                quota,
                tasks: self.streams.clone(),
                drain: self.drain.clone(),
            },
            configuration: ConfigurationGrpc {
                log: Arc::clone(&self.log),
                enrollment: Arc::clone(&self.enrollment),
                jurisdiction: parts.jurisdiction.clone(),
                regions: parts.regions.clone(),
                fleet: Arc::clone(&parts.fleet),
                store: Arc::clone(&parts.store),
                clock: Arc::clone(&parts.clock),
                terms: Terms { lease: configuration.lease, bookmark: configuration.bookmark },
                snapshots: Arc::new(Semaphore::new(configuration.snapshots)),
                metrics: self.log_metrics.clone(),
                tasks: self.streams.clone(),
                drain: self.drain.clone(),
            },
            usage: usage.into(),
            discovery: DiscoveryGrpc {
                enrollment: Arc::clone(&self.enrollment),
                jurisdiction: parts.jurisdiction.clone(),
                regions: parts.regions.clone(),
                fleet: Arc::clone(&parts.fleet),
                store: Arc::clone(&parts.store),
                clock: Arc::clone(&parts.clock),
                started: Instant::now(),
                drain: self.drain.clone(),
            },
            renewal: RenewalGrpc { enrollment: Arc::clone(&self.enrollment), regions: parts.regions.clone() },
            trust: TrustGrpc {
                enrollment: Arc::clone(&self.enrollment),
                jurisdiction: parts.jurisdiction.clone(),
                regions: parts.regions.clone(),
                trust: Arc::clone(&parts.trust),
                drain: self.drain.clone(),
            },
        }
    }

    fn spawn_jobs(&self, tasks: &mut Tasks) -> anyhow::Result<()> {
        let parts = &self.control_plane.parts;
        let metrics = TaskMetrics::default();
        self.ops.register(|registry| metrics.register(registry));
        let runner = tasks::Runner {
            coordination: Arc::clone(&parts.coordination),
            clock: Arc::clone(&parts.clock),
            metrics,
            stop: tasks.stopping(),
        };
        let expiry = Expiry {
            store: Arc::clone(&parts.store),
            vault: Arc::clone(&parts.vault),
            coordination: Arc::clone(&parts.coordination),
            clock: Arc::clone(&parts.clock),
            actor: self.own.identity.spiffe_id().to_string(),
        };
        let rotations = Rotations {
            store: Arc::clone(&parts.store),
            vault: Arc::clone(&parts.vault),
            clock: Arc::clone(&parts.clock),
            actor: self.own.identity.spiffe_id().to_string(),
            pace: self.settings.rotation,
        };
        let rotation_metrics = RotationMetrics::default();
        self.ops.register(|registry| rotation_metrics.register(registry));
        let change = AuthorityChange {
            store: Arc::clone(&parts.store),
            vault: Arc::clone(&parts.vault),
            authority: Arc::clone(&parts.authority),
            trust: Arc::clone(&parts.trust),
        };
        let actor = self.own.identity.spiffe_id().to_string();
        tasks.spawn("authority change", tasks::authority::run(runner.clone(), change, actor));
        let destruction = Destruction {
            store: Arc::clone(&parts.store),
            vault: Arc::clone(&parts.vault),
            clock: Arc::clone(&parts.clock),
            actor: self.own.identity.spiffe_id().to_string(),
            late_usage: self.settings.destruction.late_usage,
        };
        let answers = self.ops.readiness().register("store");
        tasks.spawn("destruction", tasks::destruction::run(runner.clone(), Arc::new(destruction)));
        tasks.spawn("key expiry", tasks::key_expiry::run(runner.clone(), Arc::new(expiry)));
        let token_keys = Arc::new(self.region.ground.token_keys(&self.settings)?);
        tasks.spawn("token keys", tasks::token_keys::run(runner.clone(), token_keys));
        let rotation = tasks::rotation::run(runner.clone(), Arc::new(rotations), rotation_metrics);
        tasks.spawn("rotation", rotation);
        tasks.spawn("certificate renewal", tasks::certificate::run(runner.clone(), self.own.clone()));
        let sql = self.region.ground.sql.clone();
        tasks.spawn("configuration log trimming", tasks::configuration_log::run(runner.clone(), sql));
        tasks.spawn("store watch", tasks::store_watch::run(runner, Arc::clone(&parts.store), answers));
        Ok(())
    }
}

async fn follower(settings: &Settings, region: &Region, metrics: LogMetrics) -> anyhow::Result<Follower> {
    let code = settings.region.jurisdiction.code();
    let choices = region::choices(settings);
    let price_of =
        Box::new(move |deployment: &_| pricing::price_of(&choices, deployment).map(|(price, _)| price));
    let (store, vault) = (Arc::clone(&region.ground.store), Arc::clone(&region.ground.vault));
    let reader = ConfigurationReader::new(store, vault, price_of);
    let settings = encode::region_settings(code, &region.secrets.pepper_bytes(), &settings.egress);
    let settings = settings.context("the region's settings cannot be encoded")?;
    Follower::start(Box::new(reader), code, settings, metrics)
        .await
        .context("the configuration cannot be read")
}

/// The first signal: not ready any more, then subscribers are told to come back later, and nothing new is taken. It is over when every stream
/// is.
async fn drain_when_told(
    watch: drain::Watch,
    ready: Condition,
    drain: CancellationToken,
    streams: TaskTracker,
) {
    watch.signalled().await;
    ready.not_ready("draining");
    drain.cancel();
    streams.close();
    streams.wait().await;
}

#[cfg(test)]
mod tests;
