//! `local.json`: everything that a program needs to know of what runs here. It holds API keys, so only its owner may read it.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::process::Started;

/// The whole installation.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Description {
    pub(crate) regions: BTreeMap<String, RegionDescription>,
    /// The simulated provider, where it runs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) provider: Option<ProviderDescription>,
}

/// One region.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RegionDescription {
    /// For OpenAI's SDKs: ends in `/v1`.
    pub(crate) base_url: String,
    pub(crate) admin_addr: String,
    /// Where workers and routers call their control plane.
    pub(crate) processes_addr: String,
    /// Where newcomers enroll.
    pub(crate) enrollment_addr: String,
    /// Where callers with bearer tokens are served.
    #[serde(default)]
    pub(crate) tokens_addr: String,
    pub(crate) api_key: String,
    pub(crate) organization: String,
    pub(crate) model: String,
    pub(crate) installation: String,
    pub(crate) ca: PathBuf,
    pub(crate) operator_cert: PathBuf,
    pub(crate) operator_key: PathBuf,
    pub(crate) processes: Processes,
    pub(crate) state_dir: PathBuf,
}

/// A region's processes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Processes {
    pub(crate) control_plane: ProcessDescription,
    pub(crate) workers: Vec<ProcessDescription>,
    pub(crate) router: ProcessDescription,
}

/// One process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ProcessDescription {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) started: Started,
    /// Its binary. The command may start that in a network of the region's own; this is for who runs it elsewhere.
    pub(crate) program: PathBuf,
    /// `host:port` that it serves on.
    pub(crate) address: String,
    /// Plain HTTP without a router, where a worker serves it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) plain_address: Option<String>,
    /// URL of its metrics.
    pub(crate) metrics: String,
    pub(crate) config: PathBuf,
}

/// The simulated provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ProviderDescription {
    #[serde(flatten)]
    pub(crate) started: Started,
    pub(crate) base_url: String,
}

impl Description {
    /// `None` when there is no file.
    pub(crate) fn read(file: &Path) -> anyhow::Result<Option<Self>> {
        if !file.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Some(serde_json::from_str(&text).with_context(|| format!("{} is not ours", file.display()))?))
    }

    pub(crate) fn write(&self, file: &Path) -> anyhow::Result<()> {
        write_private(file, &serde_json::to_string_pretty(self)?)
    }

    /// Routers, workers, control planes, the provider.
    pub(crate) fn in_stop_order(&self) -> Vec<(&str, &str, &Started)> {
        let mut order = Vec::new();
        for (region, description) in &self.regions {
            let processes = &description.processes;
            let all = std::iter::once(&processes.router)
                .chain(&processes.workers)
                .chain([&processes.control_plane]);
            order.extend(all.map(|process| (region.as_str(), process.name.as_str(), &process.started)));
        }
        order.extend(
            self.provider.iter().map(|provider| ("provider", "simulated provider", &provider.started)),
        );
        order
    }

    /// Whether anything of it still runs.
    pub(crate) fn runs(&self) -> bool {
        self.in_stop_order().iter().any(|(_, _, process)| process.runs())
    }
}

/// Writes a file that only its owner may read, whole or not at all.
pub(crate) fn write_private(file: &Path, text: &str) -> anyhow::Result<()> {
    let context = || format!("cannot write {}", file.display());
    let new = file.with_extension("new");
    let mut options = OpenOptions::new();
    let mut output =
        options.write(true).create(true).truncate(true).mode(0o600).open(&new).with_context(context)?;
    output.write_all(text.as_bytes()).with_context(context)?;
    fs::rename(&new, file).with_context(context)
}
