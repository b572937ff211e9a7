//! What is measured: an installation of its own, and the provider that it calls.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context;
use serde_json::Value;
use tempfile::TempDir;

use crate::{load::Target, target};

const REGION: &str = "eu-central-1";

/// Three regions that run; one of them is measured. Stopped on drop.
pub struct Subject {
    bin_dir: PathBuf,
    folder: TempDir,
    description: Value,
}

impl Subject {
    /// Starts it with the programs in `bin_dir`, or beside this one.
    pub fn start(bin_dir: Option<PathBuf>, ports_from: u16) -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let bin_dir =
            bin_dir.or_else(|| own.parent().map(Path::to_owned)).context("no folder of programs")?;
        let program = bin_dir.join("bailiwick-local");
        let missing = || format!("{} is not built: cargo build --release --workspace", program.display());
        anyhow::ensure!(program.exists(), missing());
        let folder = tempfile::Builder::new().prefix("bailiwick-bench-").tempdir()?;
        let started = Command::new(&program)
            .args([
                "up",
                "--detach",
                "--simulated",
                "--plain-workers",
                "--ports-from",
                &ports_from.to_string(),
                "--state-dir",
            ])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()?;
        let mut subject = Self { bin_dir, folder, description: Value::Null };
        anyhow::ensure!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        let text = std::fs::read_to_string(subject.folder.path().join("local.json"))?;
        subject.description = serde_json::from_str(&text)?;
        Ok(subject)
    }

    /// From the nearest to the farthest.
    pub fn targets(&self) -> [(&'static str, Target); 3] {
        let text =
            |pointer: &str| self.description.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let region = |path: &str| text(&format!("/regions/{REGION}/{path}"));
        let host = |url: &str| url.trim_start_matches("http://").trim_end_matches("/v1").to_owned();
        let (key, model) = (region("api_key"), region("model"));
        [
            ("direct", target(&host(text("/provider/base_url")), "any", "simulated")),
            ("worker", target(region("processes/workers/0/plain_address"), key, model)),
            ("router + worker", target(&host(region("base_url")), key, model)),
        ]
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let mut stop = Command::new(self.bin_dir.join("bailiwick-local"));
        let _ = stop.args(["down", "--state-dir"]).arg(self.folder.path()).stderr(Stdio::null()).status();
    }
}
