//! What is known of a region before anything of it is asked.

use std::path::PathBuf;

use bailiwick_domain::region::RegionName;

/// How a region is reached. What is `None` or empty cannot be attacked, and is reported so.
#[derive(Clone, Debug)]
pub struct Access {
    /// Its name.
    pub region: RegionName,
    /// Its installation, the second half of its trust domain.
    pub installation: String,
    /// `host:port` of its admin API.
    pub admin: String,
    /// Folder of its operator's `ca.pem`, `cert.pem` and `key.pem`.
    pub identity: PathBuf,
    /// Base URL of its router.
    pub router: Option<String>,
    /// `host:port` of its API for workers and routers.
    pub processes: Option<String>,
    /// `host:port` of its enrollment listener.
    pub enrollment: Option<String>,
    /// `host:port` of its listener for bearer tokens.
    pub tokens: Option<String>,
    /// Its control plane's files, where they lie on this machine.
    pub state: Option<State>,
}

/// What the control plane of a local installation keeps.
#[derive(Clone, Debug)]
pub struct State {
    /// The control plane's program.
    pub control_plane: PathBuf,
    /// The workers' program, where one is known.
    pub worker: Option<PathBuf>,
    /// The control plane's configuration.
    pub configuration: PathBuf,
    /// Its SQLite database.
    pub store: PathBuf,
    /// The file of its master key.
    pub master_key: PathBuf,
}
