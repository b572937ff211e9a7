//! Starts one region: control plane first, then what enrolls with it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;

use crate::{
    account::{self, Account},
    admin::Admin,
    completion::{self, Metered},
    configuration::{self, Written},
    description::{ProcessDescription, Processes, RegionDescription, write_private},
    layout::{INSTALLATION, Layout, RegionLayout},
    process::{self, Registry, Running, Started},
    progress::Progress,
    upstream::Upstream,
};

const READY_WITHIN: Duration = Duration::from_secs(60);
/// 30 days: how long the operator of a local installation may leave it running.
const OPERATOR_MINUTES: &str = "43200";

/// A region that serves.
pub(crate) struct Region {
    pub(crate) name: &'static str,
    /// In the order in which they were started.
    pub(crate) processes: Vec<Running>,
    pub(crate) description: RegionDescription,
    pub(crate) metered: Metered,
}

/// Folder of the binaries.
#[derive(Clone, Debug)]
pub(crate) struct Binaries(pub(crate) PathBuf);

impl Binaries {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// What the regions share while they start.
pub(crate) struct Start<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) binaries: &'a Binaries,
    pub(crate) upstream: &'a Upstream,
    pub(crate) registry: &'a Registry,
    pub(crate) progress: Progress,
}

/// Starts everything of a region.
pub(crate) async fn start(start: &Start<'_>, region: &RegionLayout) -> anyhow::Result<Region> {
    let Start { layout, upstream, progress, .. } = *start;
    let written = configuration::write(layout, region, upstream)?;
    let mut processes = Vec::new();
    control_plane(start, region, &written.control_plane, &mut processes).await?;
    progress.say(region.name, "control plane ready");
    let admin = Admin::connect(region)?;
    workers_and_router(start, region, &written, &admin, &mut processes).await?;
    progress.say(region.name, "two workers and the router ready");
    let account = account::open(region, &admin, upstream).await?;
    progress.say(region.name, "organization signed up, key and model in place");
    let metered = completion::send(region, &admin, &account).await?;
    progress.say(region.name, "completion served and metered");
    let description = describe(start.binaries, region, &written, &account, &processes)?;
    Ok(Region { name: region.name, processes, description, metered })
}

async fn control_plane(
    start: &Start<'_>,
    region: &RegionLayout,
    config: &Path,
    processes: &mut Vec<Running>,
) -> anyhow::Result<()> {
    let program = region.program(&start.binaries.0, "bailiwick-control-plane");
    let file = config.to_string_lossy();
    process::run(&program, &["init", "--generate-master-key", "--config", &file]).await?;
    let operator = configuration::operator_dir(region);
    let out = operator.to_string_lossy();
    let operator = ["--role", "operator", "--name", "local", "--minutes", OPERATOR_MINUTES, "--out", &out];
    process::run(&program, &[&["issue-certificate"], &operator[..], &["--config", &file]].concat()).await?;
    serve(start, region, "control-plane", &program, config, processes)?;
    ready(processes, region.control_plane_ops).await
}

async fn workers_and_router(
    start: &Start<'_>,
    region: &RegionLayout,
    written: &Written,
    admin: &Admin,
    processes: &mut Vec<Running>,
) -> anyhow::Result<()> {
    let first = processes.len();
    for (worker, config) in region.workers.iter().zip(&written.workers) {
        token(region, admin, "worker", &worker.name).await?;
        serve(
            start,
            region,
            &worker.name,
            &region.program(&start.binaries.0, "bailiwick-worker"),
            config,
            processes,
        )?;
    }
    token(region, admin, "router", "router").await?;
    serve(
        start,
        region,
        "router",
        &region.program(&start.binaries.0, "bailiwick-router"),
        &written.router,
        processes,
    )?;
    let addresses = region.workers.iter().map(|worker| worker.ops).chain([region.router_ops]);
    for (process, ops) in processes.iter_mut().skip(first).zip(addresses) {
        process.ready(&format!("http://{ops}/readyz"), READY_WITHIN).await?;
    }
    Ok(())
}

/// A join token, for a process that has no certificate yet.
async fn token(region: &RegionLayout, admin: &Admin, role: &str, name: &str) -> anyhow::Result<()> {
    let enrolled = configuration::identity_dir(region, name).join("cert.pem").exists();
    let file = configuration::join_token(region, name);
    if enrolled {
        // Used up: nobody needs to find it.
        let _ = fs::remove_file(file);
        return Ok(());
    }
    write_private(&file, &admin.join_token(role, name).await?)
}

fn serve(
    start: &Start<'_>,
    region: &RegionLayout,
    name: &str,
    program: &Path,
    config: &Path,
    processes: &mut Vec<Running>,
) -> anyhow::Result<()> {
    let log = region.dir.join(format!("{name}.log"));
    let command = vec![
        program.display().to_string(),
        "serve".to_owned(),
        "--config".to_owned(),
        config.to_string_lossy().into_owned(),
    ];
    processes.push(start.registry.start(&format!("{} {name}", region.name), command, &log)?);
    Ok(())
}

async fn ready(processes: &mut [Running], ops: std::net::SocketAddr) -> anyhow::Result<()> {
    let process = processes.last_mut().context("nothing was started")?;
    process.ready(&format!("http://{ops}/readyz"), READY_WITHIN).await
}

fn describe(
    binaries: &Binaries,
    region: &RegionLayout,
    written: &Written,
    account: &Account,
    processes: &[Running],
) -> anyhow::Result<RegionDescription> {
    let addresses = [(region.worker_api, None, region.control_plane_ops, &written.control_plane)].into_iter();
    let workers = region.workers.iter().zip(&written.workers);
    let addresses =
        addresses.chain(workers.map(|(worker, config)| (worker.serve, worker.plain, worker.ops, config)));
    let addresses = addresses.chain([(region.router, None, region.router_ops, &written.router)]);
    let described =
        processes.iter().zip(addresses).map(|(process, (address, plain, ops, config))| ProcessDescription {
            name: process.name.rsplit(' ').next().unwrap_or_default().to_owned(),
            started: process.started.clone(),
            program: binaries.path(&program_name(&process.started)),
            address: address.to_string(),
            plain_address: plain.map(|address| address.to_string()),
            metrics: format!("http://{ops}/metrics"),
            config: config.clone(),
        });
    let mut described = described.collect::<Vec<_>>();
    let router = described.pop().context("no router")?;
    let workers = described.split_off(1);
    let control_plane = described.pop().context("no control plane")?;
    let operator = configuration::operator_dir(region);
    Ok(RegionDescription {
        base_url: format!("http://{}/v1", region.router),
        admin_addr: region.admin.to_string(),
        processes_addr: region.worker_api.to_string(),
        enrollment_addr: region.enrollment.to_string(),
        tokens_addr: region.tokens.to_string(),
        api_key: account.api_key.clone(),
        organization: account.organization.clone(),
        model: account.model.clone(),
        installation: INSTALLATION.to_owned(),
        ca: operator.join("ca.pem"),
        operator_cert: operator.join("cert.pem"),
        operator_key: operator.join("key.pem"),
        processes: Processes { control_plane, workers, router },
        state_dir: region.dir.clone(),
    })
}

/// A program and what launches it have the same name.
fn program_name(started: &Started) -> String {
    let program = started.command.first().map(Path::new).and_then(Path::file_name);
    program.unwrap_or_default().to_string_lossy().into_owned()
}
