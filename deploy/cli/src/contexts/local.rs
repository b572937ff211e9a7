//! `local.json`, with which a local installation describes itself. Only what is needed here is read; never its API keys.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::Entry;
use crate::{failure::Failure, input::unreadable};

/// A local installation.
#[derive(Debug, Deserialize)]
pub(crate) struct LocalInstallation {
    regions: BTreeMap<String, LocalRegion>,
}

#[derive(Debug, Deserialize)]
struct LocalRegion {
    base_url: String,
    admin_addr: String,
    processes_addr: Option<String>,
    enrollment_addr: Option<String>,
    tokens_addr: Option<String>,
    installation: String,
    operator_cert: PathBuf,
    processes: Processes,
}

#[derive(Clone, Debug, Deserialize)]
struct Processes {
    control_plane: Process,
    workers: Vec<Process>,
    router: Process,
}

/// A process that should run here.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) pid: i32,
    /// Tells it from a later process with the same pid.
    #[serde(default)]
    pub(crate) start_ticks: u64,
    pub(crate) log: PathBuf,
    #[serde(default)]
    command: Vec<String>,
    /// Its binary, where the command starts that in some other way.
    #[serde(default)]
    program: Option<PathBuf>,
    #[serde(default)]
    pub(crate) config: Option<PathBuf>,
}

impl LocalInstallation {
    /// `None` when there is no file.
    pub(crate) fn read(file: &Path) -> Result<Option<Self>, Failure> {
        match fs::read_to_string(file) {
            Ok(text) => serde_json::from_str(&text).map(Some).map_err(|error| {
                Failure::usage(format!(
                    "{} is not the description of a local installation: {error}",
                    file.display()
                ))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(file, &error)),
        }
    }

    /// One context for each region, of the region's name.
    pub(crate) fn contexts(&self) -> BTreeMap<String, Entry> {
        let entry = |(name, region): (&String, &LocalRegion)| {
            let entry = Entry {
                admin: region.admin_addr.clone(),
                region: name.clone(),
                installation: region.installation.clone(),
                identity: region.operator_cert.parent().unwrap_or(Path::new(".")).to_owned(),
                router: Some(region.base_url.clone()),
                processes: region.processes_addr.clone(),
                enrollment: region.enrollment_addr.clone(),
                tokens: region.tokens_addr.clone(),
                service_account: None,
            };
            (name.clone(), entry)
        };
        self.regions.iter().map(entry).collect()
    }

    pub(crate) fn processes(&self, region: &str) -> Vec<Process> {
        let Some(region) = self.regions.get(region) else { return Vec::new() };
        let processes = region.processes.clone();
        [processes.control_plane].into_iter().chain(processes.workers).chain([processes.router]).collect()
    }
}

impl Process {
    /// Its binary.
    pub(crate) fn program(&self) -> Option<PathBuf> {
        self.program.clone().or_else(|| self.command.first().map(PathBuf::from))
    }

    /// Whether it still runs.
    pub(crate) fn runs(&self) -> bool {
        if Path::new("/proc/self/stat").exists() {
            return start_ticks(self.pid)
                .is_some_and(|ticks| self.start_ticks == 0 || ticks == self.start_ticks);
        }
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid), None).is_ok()
    }
}

/// `None` when there is no such process, or only what is left of it.
fn start_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name stands in parentheses and may hold anything: fields are counted from the last one.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}
