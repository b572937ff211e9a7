//! Wires the router: settings, identity, discovery, then the cores that serve.

use std::{path::Path, process::ExitCode, rc::Rc, sync::Arc};

use anyhow::Context;
use bailiwick_domain::{spiffe::ProcessRole, time::SystemClock};
use bailiwick_runtime::{
    configuration, drain, enrollment, grpc,
    identity::{Connector, Identity, PublicAcceptor},
    lifecycle::{Tasks, run_until_signalled},
    membership::{Member, serve_while_a_member},
    ops::Ops,
    resources,
    serving::{CoreContext, Listen, Serving, Transport, serve_per_core},
    telemetry,
};

use crate::{
    admission::Admission,
    balance::Balance,
    forward::Forward,
    gateway::Gateway,
    metrics::RouterMetrics,
    pool::Pool,
    settings::{ENVIRONMENT, Settings},
    signup::Signup,
    workers::{self, Workers},
};

/// Reads the settings and says whether they are good.
pub(crate) fn check(file: &Path, connect: bool) -> anyhow::Result<ExitCode> {
    let settings: Settings = configuration::load(Some(file), ENVIRONMENT)?;
    if connect {
        telemetry::reach_once(&settings.telemetry, &settings.resolver)?;
    }
    crate::complain("the settings are good");
    Ok(ExitCode::SUCCESS)
}

/// Serves until told to stop. Discovery and signups run here; callers are served on threads of their own.
pub(crate) fn serve(file: &Path) -> anyhow::Result<ExitCode> {
    let settings: Settings = configuration::load(Some(file), ENVIRONMENT)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(settings))
}

async fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    let region = settings.region.region().name.to_string();
    let _telemetry = telemetry::init(&settings.telemetry, &settings.resolver, "bailiwick-router", &region)?;
    let descriptors = resources::take_descriptors();
    tracing::info!(descriptors, "a call that is under way takes two file descriptors");
    let (ops, mut tasks) = (Ops::new(), Tasks::new());
    let (certified, discovered) =
        (ops.readiness().register("identity"), ops.readiness().register("discovery"));
    certified.not_ready("waiting for a certificate");
    discovered.not_ready("the control plane has not named any worker yet");
    let operations = ops
        .bind(settings.ops.listen)
        .await
        .with_context(|| format!("cannot listen on {}", settings.ops.listen))?;
    tasks.spawn("ops", {
        let stopping = tasks.stopping();
        async move { operations.run(stopping.cancelled_owned()).await }
    });

    let identity = enrollment::establish(
        ProcessRole::Router,
        &settings.region,
        &settings.control_plane,
        &settings.identity,
        &SystemClock,
    );
    let identity = identity.await?;
    let to_control_plane = Connector::new(identity.clone(), ProcessRole::ControlPlane)?;
    let channel = grpc::channel(&settings.control_plane.address, &to_control_plane)?;
    let member = Member {
        identity: identity.clone(),
        channel: channel.clone(),
        recovery: enrollment::recovery(&identity, &settings.control_plane)?,
        region: region.clone(),
        clock: Arc::new(SystemClock),
        condition: certified,
    };
    member.maintain(&mut tasks, &ops);
    let workers = Workers::default();
    let following = workers::follow(workers.clone(), channel.clone(), region, discovered, tasks.stopping());
    tasks.spawn("discovery", following);

    let (signal, watch) = drain::channel();
    let signup = settings.signup.then(|| Signup::new(channel));
    let transport = transport(&settings, &mut tasks)?;
    let serving = serve_callers(&settings, &identity, workers, signup, transport, &ops, watch)?;
    tracing::info!(listen = ?serving.addresses(), "serving");
    let stopping = tasks.stopping();
    tasks.spawn("serving", serve_while_a_member(serving, identity, stopping));
    Ok(run_until_signalled(tasks, signal, settings.drain).await?)
}

/// TLS where the operator named certificates, which are followed from then on.
fn transport(settings: &Settings, tasks: &mut Tasks) -> anyhow::Result<Transport> {
    if settings.serve.certificates.is_empty() {
        return Ok(Transport::Plain);
    }
    let acceptor = PublicAcceptor::load(settings.serve.certificates.clone()).context("serve.tls")?;
    tasks.spawn("public-certificates", {
        let (acceptor, stopping) = (acceptor.clone(), tasks.stopping());
        async move { acceptor.watch_files(stopping.cancelled_owned()).await }
    });
    Ok(Transport::Public(acceptor))
}

fn serve_callers(
    settings: &Settings,
    identity: &Identity,
    workers: Workers,
    signup: Option<Signup>,
    transport: Transport,
    ops: &Ops,
    drain: drain::Watch,
) -> anyhow::Result<Serving> {
    let admission =
        Arc::new(Admission::new(settings.region.jurisdiction.clone(), settings.region.regions.clone()));
    let metrics = RouterMetrics::new(workers.clone());
    ops.register(|registry| metrics.register(registry));
    let to_workers = Connector::new(identity.clone(), ProcessRole::Worker)?;
    let response_timeout = settings.serve.response_timeout;
    let client_address_from = settings.serve.client_address_from.clone();
    let preface_from = client_address_from.preface_from().cloned();
    let make_service = move |_core: CoreContext| {
        let metrics = metrics.core();
        Gateway {
            admission: Arc::clone(&admission),
            client_address_from: client_address_from.clone(),
            forward: Rc::new(Forward {
                balance: Balance::new(workers.clone()),
                pool: Pool::new(&to_workers, response_timeout),
                metrics: metrics.clone(),
            }),
            signup: signup.clone(),
            metrics,
        }
    };
    let listeners = vec![Listen { address: settings.serve.listen, transport, preface_from }];
    Ok(serve_per_core(listeners, settings.serve.cores, settings.serve.limits, drain, make_service)?)
}
