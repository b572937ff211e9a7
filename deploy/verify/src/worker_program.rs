//! A worker that this run starts: a region's own program, as one of its members, with a folder of its own and whatever control plane it is pointed
//! at. It serves nobody but this run, and ends with it.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::Range,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use bailiwick_runtime::identity::Identity;
use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::{
    armed::Armed,
    store_copy::folder,
    web::{self, Answer, Ask},
};

/// For each thing that it is waited for.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);
/// Below those that the system gives to connections (`ip_local_port_range`, ip(7)): one of those could be taken by another attempt's connection before the worker
/// listens there.
const PORTS: Range<u16> = 28_500..32_500;

/// A worker that runs; killed on drop.
pub(crate) struct WorkerProgram {
    child: Child,
    folder: TempDir,
    serves: SocketAddr,
    tells: SocketAddr,
}

impl WorkerProgram {
    /// Starts the program of `member`'s region as the worker that has joined for this run, pointed at `control_plane`. The error says why that cannot be
    /// tried.
    pub(crate) fn start(member: &Armed, control_plane: &str) -> Result<Self, String> {
        let state = member.access.state.as_ref().ok_or("the region's programs are not on this machine")?;
        let program = state.worker.as_ref().ok_or("no worker's program is known")?;
        let worker = member.worker.as_ref().map_err(Clone::clone)?;
        let folder = folder()?;
        let identity = folder.path().join("identity");
        Identity::establish(&identity, member.domain.clone(), &worker.material)
            .map_err(|error| error.to_string())?;
        let [mutual, serves, tells] = free_addresses()?;
        let configuration = json!({
            "region": {"name": member.name(), "installation": member.access.installation},
            "control_plane": {"address": control_plane},
            "identity": {"dir": identity},
            "serve": {"listen": mutual, "plain_listen": serves, "cores": 1},
            "journal": {"dir": folder.path().join("journal")},
            "telemetry": {"log": "info", "log_format": "json"},
            "ops": {"listen": tells},
        });
        let file = folder.path().join("config.toml");
        let written = toml::to_string(&configuration).map_err(|error| error.to_string());
        written.and_then(|text| fs::write(&file, text).map_err(|error| error.to_string()))?;
        let child = spawn(program, &file, &log(&folder))?;
        Ok(Self { child, folder, serves, tells })
    }

    /// Asks it as a caller on its own machine.
    pub(crate) async fn ask(&self, ask: &Ask) -> Result<Answer, String> {
        web::ask(&format!("http://{}", self.serves), ask).await
    }

    /// Whether it would be given calls.
    pub(crate) async fn is_ready(&self) -> Result<bool, String> {
        let answer = web::ask(&format!("http://{}", self.tells), &Ask::get("/readyz")).await?;
        Ok(answer.status.is_success())
    }

    /// One of its figures.
    pub(crate) async fn metric(&self, name: &str) -> Result<u64, String> {
        let text = web::text(&format!("http://{}", self.tells), &Ask::get("/metrics")).await?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.ok_or_else(|| format!("there is no {name}"))
    }

    /// The first reason that it logs for not being told its configuration.
    pub(crate) async fn trouble(&mut self) -> Result<String, String> {
        self.wait("why it is not subscribed", |log| log.lines().find_map(reason)).await
    }

    async fn wait<T>(&mut self, what: &str, found: impl Fn(&str) -> Option<T>) -> Result<T, String> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let log = fs::read_to_string(log(&self.folder)).unwrap_or_default();
            if let Some(found) = found(&log) {
                return Ok(found);
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the worker ended with {status}"));
            }
            if Instant::now() > deadline {
                return Err(format!("the worker did not say {what} in time"));
            }
            sleep(POLL).await;
        }
    }

    /// Ends it, and waits until it is gone.
    pub(crate) async fn end(mut self) {
        // It is gone already, or the system takes it away with this process.
        let _gone = self.child.kill().await;
    }
}

/// What a line of its log says of why it is not told its configuration.
fn reason(line: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        message: String,
        reason: Option<String>,
    }
    let line: Line = serde_json::from_str(line).ok()?;
    line.reason.filter(|_| line.message.starts_with("not subscribed to the configuration"))
}

fn log(folder: &TempDir) -> PathBuf {
    folder.path().join("log")
}

fn spawn(program: &Path, configuration: &Path, log: &Path) -> Result<Child, String> {
    let failed = |error: std::io::Error| format!("{} does not run: {error}", program.display());
    let output = fs::File::create(log).map_err(failed)?;
    Command::new(program)
        .arg("serve")
        .arg("--config")
        .arg(configuration)
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(failed)?)
        .stderr(output)
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)
}

/// Addresses that nobody listens on at the moment, and that this run gives to no other worker. All are held until the last is found.
fn free_addresses<const N: usize>() -> Result<[SocketAddr; N], String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let room = u32::from(PORTS.end - PORTS.start);
    let candidates = (0..room).filter_map(|_| {
        let next = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + u16::try_from(next % room).ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()
    });
    let held: Vec<TcpListener> = candidates.take(N).collect();
    let addresses: Result<Vec<SocketAddr>, _> = held.iter().map(TcpListener::local_addr).collect();
    let addresses = addresses.map_err(|error| error.to_string())?;
    addresses.try_into().map_err(|_| "there are too few free ports".to_owned())
}
