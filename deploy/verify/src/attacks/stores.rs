//! 11: one region's database in the hands of another. Only where the regions' state lies on this machine.

use std::{fs, path::Path, process::Output};

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::process::Command;

use super::layer;
use crate::{
    access::State,
    attack::{Attack, Pair},
    attempt::{Attempt, Probe},
};

pub(super) struct Stores;

#[async_trait]
impl Attack for Stores {
    fn number(&self) -> u8 {
        11
    }

    fn name(&self) -> &'static str {
        "a foreign region's database"
    }

    async fn run(&self, pair: Pair<'_>) -> Vec<Attempt> {
        let (from, to) = (pair.attacker.access.state.as_ref(), pair.target.access.state.as_ref());
        let opened = Probe::new(
            "a copy of the other region's database, opened by this region's control plane",
            layer::STORE_IDENTITY,
            "refused, naming the region that it belongs to",
        );
        let unsealed = Probe::new(
            "a copy of the other region's database, its identity untouched, under this region's master key",
            layer::VAULT,
            "nothing that is sealed opens",
        );
        let (Some(from), Some(to)) = (from, to) else {
            let why = "the regions' state is not on this machine";
            return vec![opened.not_attempted(why), unsealed.not_attempted(why)];
        };
        vec![open(opened, pair, from, to).await, unseal(unsealed, from, to).await]
    }
}

async fn open(probe: Probe, pair: Pair<'_>, from: &State, to: &State) -> Attempt {
    let said = match copied(from).await {
        Ok(copy) => verify_store(to, copy.path(), &[]).await,
        Err(why) => Err(why),
    };
    match said {
        Err(why) => probe.not_attempted(why),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            let owner = format!("belongs to {}.{}", pair.attacker.name(), pair.attacker.access.installation);
            probe.expect(!output.status.success() && text.contains(&owner), last_line(&text))
        }
    }
}

/// The attacker's own configuration opens its own copy, but with the target's master key.
async fn unseal(probe: Probe, from: &State, to: &State) -> Attempt {
    let Some(master_key) = to.master_key.to_str() else {
        return probe.not_attempted("the master key's path is no text");
    };
    let said = match copied(from).await {
        Ok(copy) => {
            verify_store(from, copy.path(), &[("BAILIWICK_CONTROL_PLANE_MASTER_KEY__FILE", master_key)]).await
        }
        Err(why) => Err(why),
    };
    match said {
        Err(why) => probe.not_attempted(why),
        Ok(output) => {
            let report: Option<serde_json::Value> = serde_json::from_slice(&output.stdout).ok();
            let count = |name: &str| report.as_ref().and_then(|report| report.get(name)?.as_u64());
            let (values, keys) = (count("sealed_opened"), count("data_keys"));
            let refused = !output.status.success() && values == Some(0) && keys == Some(0);
            let said = match (values, keys) {
                (Some(values), Some(keys)) => format!("{values} sealed values and {keys} data keys opened"),
                _ => last_line(&String::from_utf8_lossy(&output.stderr)),
            };
            probe.expect(refused, said)
        }
    }
}

/// A database and what was not written back into it yet. It is another one's from then on, so nothing of the region is touched.
async fn copied(state: &State) -> Result<TempDir, String> {
    let folder = tempfile::Builder::new().prefix("bailiwick-verify-").tempdir();
    let folder = folder.map_err(|error| format!("no temporary folder: {error}"))?;
    for end in ["", "-wal"] {
        let mut from = state.store.clone().into_os_string();
        from.push(end);
        if end.is_empty() || Path::new(&from).exists() {
            fs::copy(&from, folder.path().join(format!("region.db{end}")))
                .map_err(|error| format!("the database cannot be copied: {error}"))?;
        }
    }
    Ok(folder)
}

async fn verify_store(state: &State, folder: &Path, environment: &[(&str, &str)]) -> Result<Output, String> {
    let store = format!("sqlite://{}/region.db", folder.display());
    let output = Command::new(&state.control_plane)
        .arg("--config")
        .arg(&state.configuration)
        .args(["verify-store", "--output", "json", "--store", &store])
        .envs(environment.iter().copied())
        .output()
        .await;
    output.map_err(|error| format!("{} does not run: {error}", state.control_plane.display()))
}

fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or("nothing was said").to_owned()
}
