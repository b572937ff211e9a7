//! Copies of a region's database, in folders that are gone with them, and the region's own program that looks at one. What runs on a copy never touches
//! the region: it is given the copy's address in the place of the region's.

use std::{path::Path, process::Output, time::Duration};

use rusqlite::{Connection, OpenFlags, params};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::process::Command;

use crate::access::State;

/// For one run of the program.
const TIMEOUT: Duration = Duration::from_secs(60);
/// While the region writes.
const BUSY: Duration = Duration::from_secs(10);

/// A copy.
pub(crate) struct StoreCopy(TempDir);

/// What `verify-store` says of a store.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Inspected {
    pub(crate) sealed_opened: u64,
    pub(crate) data_keys: u64,
    pub(crate) problems: Vec<Problem>,
}

/// Something that does not hold.
#[derive(Debug, Deserialize)]
pub(crate) struct Problem {
    pub(crate) table: String,
    pub(crate) row: String,
    pub(crate) problem: String,
}

impl StoreCopy {
    /// A copy of one state of the database, also while the region writes to it.
    pub(crate) fn of(state: &State) -> Result<Self, String> {
        let copy = Self(folder()?);
        let copied = || {
            let source = Connection::open_with_flags(&state.store, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            source.busy_timeout(BUSY)?;
            source.execute("VACUUM INTO ?1", params![copy.file().display().to_string()])
        };
        copied().map_err(|error| format!("the database cannot be copied: {error}"))?;
        Ok(copy)
    }

    /// Opened, to look into it or to tamper with it.
    pub(crate) fn open(&self) -> Result<Connection, String> {
        Connection::open(self.file()).map_err(|error| format!("the copy cannot be opened: {error}"))
    }

    /// As a program is told of it.
    pub(crate) fn url(&self) -> String {
        format!("sqlite://{}", self.file().display())
    }

    fn file(&self) -> std::path::PathBuf {
        self.0.path().join("region.db")
    }

    /// Lets a region's program verify this copy.
    pub(crate) async fn verify(
        &self,
        by: &State,
        environment: &[(&str, &str)],
    ) -> Result<(Output, Option<Inspected>), String> {
        let output =
            run(by, &["verify-store", "--output", "json", "--store", &self.url()], environment).await?;
        let inspected = serde_json::from_slice(&output.stdout).ok();
        Ok((output, inspected))
    }
}

/// Runs a region's control plane's program with its configuration.
pub(crate) async fn run(
    state: &State,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Result<Output, String> {
    let program = |problem: String| format!("{}: {problem}", state.control_plane.display());
    let mut command = Command::new(&state.control_plane);
    command.arg("--config").arg(&state.configuration).args(arguments).envs(environment.iter().copied());
    command.kill_on_drop(true);
    let output = tokio::time::timeout(TIMEOUT, command.output()).await;
    let output = output.map_err(|_elapsed| program("it did not end in time".to_owned()))?;
    output.map_err(|error| program(format!("it does not run: {error}")))
}

/// The last line of what a program complained of: its error, with the causes.
pub(crate) fn complaint(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().last().unwrap_or("nothing was said").to_owned()
}

/// A folder that is gone with what it returns.
pub(crate) fn folder() -> Result<TempDir, String> {
    let folder = tempfile::Builder::new().prefix("bailiwick-verify-").tempdir();
    folder.map_err(|error| format!("no temporary folder: {error}"))
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| format!("{} is no text", path.display()))
}
