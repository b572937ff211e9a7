//! Starts the installation, from folders to a metered completion in each region.

use std::{fs, path::Path, time::Duration};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    UpArguments,
    description::{Description, ProviderDescription},
    layout::Layout,
    network::{Network, write_launchers},
    process::{Registry, Running},
    progress::{self, Progress},
    region::{self, Binaries, Region, Start},
    report,
    upstream::{Kind, Upstream},
};

/// Starts everything; in the foreground, stays until Ctrl-C or until a process ends.
pub(crate) async fn up(arguments: UpArguments) -> anyhow::Result<()> {
    let layout = prepare(&arguments)?;
    let upstream = Upstream::choose(&arguments, &layout)?;
    let binaries =
        Binaries(std::env::current_exe()?.parent().context("the program has no folder")?.to_owned());
    layout.regions.iter().try_for_each(|region| write_launchers(region, &binaries.0))?;
    let (registry, progress) = (Registry::default(), Progress::start());
    let start =
        Start { layout: &layout, binaries: &binaries, upstream: &upstream, registry: &registry, progress };
    let result = tokio::select! {
        result = serve(&start, arguments.detach) => result,
        () = interrupted() => Ok(Outcome::Stop),
    };
    if let Ok(Outcome::Leave) = result {
        return Ok(());
    }
    progress::line("stopping …");
    registry.stop().await;
    progress.say("", "stopped");
    result.map(|_| ())
}

/// What becomes of the processes.
enum Outcome {
    Leave,
    Stop,
}

/// Starts, tells, and stays until a process ends.
async fn serve(start: &Start<'_>, detach: bool) -> anyhow::Result<Outcome> {
    let (regions, provider) = start_all(start).await?;
    report::print(&regions, start.upstream, &start.layout.description());
    if detach {
        progress::result("It runs in the background; ./deploy/local/down stops it.");
        return Ok(Outcome::Leave);
    }
    progress::result("Ctrl-C stops it.");
    let mut running: Vec<Running> =
        regions.into_iter().flat_map(|region| region.processes).chain(provider).collect();
    let waits = running
        .iter_mut()
        .map(|process| Box::pin(async move { (process.name.clone(), process.child.wait().await) }));
    let ((name, status), ..) = futures_util::future::select_all(waits).await;
    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    anyhow::bail!("{name} ended with {status}; its log lies in {}", start.layout.state_dir.display())
}

/// Ctrl-C or SIGTERM.
async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

fn prepare(arguments: &UpArguments) -> anyhow::Result<Layout> {
    let description = arguments.state_dir.join("local.json");
    if Description::read(&description).ok().flatten().is_some_and(|known| known.runs()) {
        anyhow::bail!(
            "an installation runs already: ./deploy/local/down stops it ({})",
            description.display()
        );
    }
    if arguments.fresh {
        forget(&arguments.state_dir)?;
    }
    let network = arguments.network.as_deref().map(Network::read).transpose()?;
    let layout =
        Layout::new(&arguments.state_dir, arguments.ports_from, arguments.plain_workers, network.as_ref())?;
    // Keys lie in it.
    fs::set_permissions(&layout.state_dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    Ok(layout)
}

/// Removes what this command made, and nothing else that may lie in the folder.
fn forget(state_dir: &Path) -> anyhow::Result<()> {
    for name in crate::layout::REGIONS {
        let dir = state_dir.join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
        }
    }
    let _ = fs::remove_file(state_dir.join("local.json"));
    Ok(())
}

async fn start_all(start: &Start<'_>) -> anyhow::Result<(Vec<Region>, Option<Running>)> {
    let mut description = Description::default();
    let provider = match start.upstream.kind {
        Kind::Simulated => Some(provider(start).await?),
        Kind::OpenAi | Kind::Compatible => None,
    };
    description.provider = provider.as_ref().map(|provider| ProviderDescription {
        started: provider.started.clone(),
        base_url: start.upstream.endpoint.to_string(),
    });
    let starts = start
        .layout
        .regions
        .iter()
        .map(|region| async { region::start(start, region).await.with_context(|| region.name) });
    let regions = futures_util::future::try_join_all(starts).await?;
    let described = regions.iter().map(|region| (region.name.to_owned(), region.description.clone()));
    description.regions = described.collect();
    description.write(&start.layout.description())?;
    Ok((regions, provider))
}

async fn provider(start: &Start<'_>) -> anyhow::Result<Running> {
    let address = start.layout.provider;
    let log = start.layout.state_dir.join("simulated-provider.log");
    let program = start.binaries.path("bailiwick-simulated-provider");
    let command = [
        &*program.display().to_string(),
        "--listen",
        &address.to_string(),
        "--names",
        &start.layout.names.to_string(),
    ];
    let command = command.map(str::to_owned).to_vec();
    let mut provider = start.registry.start("simulated provider", command, &log)?;
    provider.ready(&format!("http://{address}/v1/models"), Duration::from_secs(20)).await?;
    start.progress.say("provider", "simulated provider ready");
    Ok(provider)
}
