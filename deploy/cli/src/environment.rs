//! The environment, read in one place.

use std::{ffi::OsString, path::PathBuf};

/// What the environment says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    /// `BAILIWICK_CONFIG`: the file of contexts.
    pub(crate) config: Option<PathBuf>,
    /// `BAILIWICK_LOCAL`: the description of a local installation.
    pub(crate) local: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`, or `~/.config`.
    pub(crate) config_home: Option<PathBuf>,
    /// <https://no-color.org>: set and not empty.
    pub(crate) no_color: bool,
}

impl Environment {
    pub(crate) fn read() -> Self {
        let path = |name| variable(name).map(PathBuf::from);
        Self {
            config: path("BAILIWICK_CONFIG"),
            local: path("BAILIWICK_LOCAL"),
            config_home: path("XDG_CONFIG_HOME").or_else(|| path("HOME").map(|home| home.join(".config"))),
            no_color: variable("NO_COLOR").is_some(),
        }
    }

    /// Where contexts are kept.
    pub(crate) fn contexts_file(&self) -> Option<PathBuf> {
        let usual = || self.config_home.as_ref().map(|home| home.join("bailiwick").join("contexts.toml"));
        self.config.clone().or_else(usual)
    }

    /// Where a local installation describes itself.
    pub(crate) fn local_file(&self) -> PathBuf {
        self.local.clone().unwrap_or_else(|| PathBuf::from(".bailiwick/local.json"))
    }
}

/// Empty is the same as not set.
#[expect(
    clippy::disallowed_methods,
    reason = "these are paths and a switch for people, not a process's configuration"
)]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
