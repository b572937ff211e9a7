//! What is measured: an installation of its own, and the provider that it calls.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context;
use serde_json::Value;
use tempfile::TempDir;

use crate::{load::Target, nginx::Nginx, target};

const REGION: &str = "eu-central-1";
/// The installation takes its ports from the other end.
const LAST_PORT: u16 = 79;

/// Three regions that run; one of them is measured. Stopped on drop.
pub struct Subject {
    bin_dir: PathBuf,
    folder: TempDir,
    description: Value,
    nginx: Option<Nginx>,
}

impl Subject {
    /// Starts it with the programs in `bin_dir`, or beside this one; and nginx in front of its provider.
    pub fn start(bin_dir: Option<PathBuf>, ports_from: u16, with_nginx: bool) -> anyhow::Result<Self> {
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
        let mut subject = Self { bin_dir, folder, description: Value::Null, nginx: None };
        anyhow::ensure!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        let text = std::fs::read_to_string(subject.folder.path().join("local.json"))?;
        subject.description = serde_json::from_str(&text)?;
        if with_nginx {
            let port = ports_from + LAST_PORT;
            subject.nginx = Some(Nginx::start(subject.folder.path(), port, &subject.provider())?);
        }
        Ok(subject)
    }

    /// From the nearest to the farthest.
    pub fn targets(&self) -> Vec<(&'static str, Target)> {
        let region = |path: &str| self.text(&format!("/regions/{REGION}/{path}"));
        let (key, model) = (region("api_key"), region("model"));
        let mut targets = vec![("direct", target(&self.provider(), "any", "simulated"))];
        targets.extend(self.nginx.iter().map(|nginx| ("nginx", target(&nginx.address, "any", "simulated"))));
        targets.push(("worker", target(region("processes/workers/0/plain_address"), key, model)));
        targets.push(("router + worker", target(&host(region("base_url")), key, model)));
        targets
    }

    fn provider(&self) -> String {
        host(self.text("/provider/base_url"))
    }

    fn text(&self, pointer: &str) -> &str {
        self.description.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

fn host(url: &str) -> String {
    url.trim_start_matches("http://").trim_end_matches("/v1").to_owned()
}

impl Drop for Subject {
    fn drop(&mut self) {
        let mut stop = Command::new(self.bin_dir.join("bailiwick-local"));
        let _ = stop.args(["down", "--state-dir"]).arg(self.folder.path()).stderr(Stdio::null()).status();
    }
}
