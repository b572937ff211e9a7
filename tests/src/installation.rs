//! An installation of three regions on ports of its own, in a folder of its own.

use std::{
    collections::BTreeMap,
    net::{IpAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU16, Ordering},
};

use serde::Deserialize;
use tempfile::TempDir;

use crate::{canaries, network::Network, process::binary};

/// Names of the regions.
pub const REGIONS: [&str; 3] = ["us-west-1", "us-east-1", "eu-central-1"];
/// Ports that one installation takes, and a few for what a test starts itself.
const PORTS: u16 = 80;

/// Three regions, running. Stopped on drop.
pub struct Installation {
    /// What `local.json` says.
    pub regions: BTreeMap<String, Region>,
    /// The simulated provider's base URL, with `/v1`.
    pub provider: String,
    /// Where a test listens, for its installation to reach it.
    pub outside: IpAddr,
    /// Ports from here on are this installation's, and free.
    pub spare_port: u16,
    folder: TempDir,
}

/// One region, as `local.json` describes it.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the file")]
pub struct Region {
    pub base_url: String,
    pub admin_addr: String,
    pub processes_addr: String,
    pub enrollment_addr: String,
    pub tokens_addr: String,
    pub api_key: String,
    pub organization: String,
    pub model: String,
    pub installation: String,
    pub ca: PathBuf,
    pub operator_cert: PathBuf,
    pub operator_key: PathBuf,
    pub processes: Processes,
    pub state_dir: PathBuf,
}

/// Its processes.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the file")]
pub struct Processes {
    pub control_plane: Process,
    pub workers: Vec<Process>,
    pub router: Process,
}

/// One process.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the file")]
pub struct Process {
    pub name: String,
    pub pid: i32,
    pub address: String,
    pub metrics: String,
    pub command: Vec<String>,
    pub log: PathBuf,
}

impl Processes {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Process> {
        std::iter::once(&self.control_plane).chain(&self.workers).chain([&self.router])
    }
}

impl Process {
    /// URL of its readiness.
    pub fn readyz(&self) -> String {
        self.metrics.replace("/metrics", "/readyz")
    }
}

#[derive(Deserialize)]
struct Description {
    regions: BTreeMap<String, Region>,
    provider: Provider,
}

#[derive(Deserialize)]
struct Provider {
    base_url: String,
}

impl Installation {
    /// Starts one with the command that the user has.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with more variables in the environment of every process.
    pub fn start_with(environment: &[(&str, &str)]) -> Self {
        Self::start_in(Network::of_this_run().as_ref(), environment)
    }

    /// Starts one in a network of namespaces, from within that which is outside of all regions; or on loopback.
    pub fn start_in(network: Option<&Network>, environment: &[(&str, &str)]) -> Self {
        let root = std::env::var_os("BAILIWICK_E2E_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let folder = tempfile::Builder::new().prefix("bailiwick-").tempdir_in(root).expect("folder");
        let outside = Network::outside_of(network);
        let base = free_ports(network);
        let output = Command::new(binary("bailiwick-local"))
            .args(["up", "--detach", "--simulated", "--ports-from", &base.to_string(), "--state-dir"])
            .arg(folder.path())
            .args(network.into_iter().flat_map(|network| ["--network".as_ref(), network.file.as_os_str()]))
            .env_remove("OPENAI_API_KEY")
            .envs(environment.iter().copied())
            .output()
            .expect("bailiwick-local starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let file = std::fs::read_to_string(folder.path().join("local.json")).expect("local.json");
        let Description { regions, provider } = serde_json::from_str(&file).expect("local.json");
        let provider = provider.base_url;
        let installation = Self { regions, provider, outside, spare_port: base + 70, folder };
        if let Some(network) = network {
            installation.plant(&network.planted());
        }
        installation
    }

    /// On a thread of its own: the caller's may be one of a runtime already.
    fn plant(&self, folder: &Path) {
        let planting = || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            runtime.block_on(canaries::plant(self, folder));
        };
        std::thread::scope(|scope| scope.spawn(planting).join()).expect("planted");
    }

    /// A region.
    pub fn region(&self, name: &str) -> &Region {
        self.regions.get(name).expect("a region")
    }

    /// Folder of all state.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops everything in order, and keeps the files.
    pub fn stop(&self) {
        let output =
            Command::new(binary("bailiwick-local")).args(["down", "--state-dir"]).arg(self.folder()).output();
        let output = output.expect("bailiwick-local starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
        let _ =
            Command::new(binary("bailiwick-local")).args(["down", "--state-dir"]).arg(self.folder()).output();
    }
}

impl Installation {
    /// The ends of all logs, for the report of a test that fails.
    fn show_logs(&self) {
        for process in self.regions.values().flat_map(|region| region.processes.all()) {
            let text = std::fs::read_to_string(&process.log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            eprintln!("--- {}", process.log.display());
            for line in lines.iter().skip(lines.len().saturating_sub(8)) {
                eprintln!("{line}");
            }
        }
    }
}

/// A range of ports that nobody listens on, different for each caller of this process. Below the range that the system gives out by itself.
fn free_ports(network: Option<&Network>) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 12_000 + u16::try_from(std::process::id() % 50).expect("small") * PORTS;
    for _ in 0..150 {
        let base = start + (NEXT.fetch_add(1, Ordering::Relaxed) % 150) * PORTS;
        let free =
            (base..base + PORTS).all(|port| TcpListener::bind((Network::outside_of(network), port)).is_ok());
        if free && network.is_none_or(|network| network.claim(base)) {
            return base;
        }
    }
    panic!("no {PORTS} free ports in a row");
}
