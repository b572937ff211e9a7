//! Contexts: where a region's control plane listens, and the certificate, or the service account's secret, to present to it.
//!
//! They stand in a file (`contexts.toml`). Where there is none, each region of a local installation is a context.

mod local;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use bailiwick_domain::region::RegionName;
use serde::{Deserialize, Serialize};

use crate::{environment::Environment, failure::Failure, input::unreadable};

pub(crate) use local::{LocalInstallation, Process};

/// What the command line chose.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    pub(crate) context: Option<String>,
    pub(crate) region: Option<String>,
}

/// A context as the file holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// `host:port` of the admin API.
    pub(crate) admin: String,
    pub(crate) region: String,
    pub(crate) installation: String,
    /// Directory of ca.pem, cert.pem and key.pem.
    pub(crate) identity: PathBuf,
    /// Base URL for applications.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) router: Option<String>,
    /// `host:port` where workers and routers call the control plane; `verify` attacks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) processes: Option<String>,
    /// `host:port` where newcomers enroll; `verify` attacks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) enrollment: Option<String>,
    /// `host:port` where callers with bearer tokens are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tokens: Option<String>,
    /// File of a service account's secret: the region is asked as that account, over `tokens`, rather than with a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service_account: Option<PathBuf>,
}

/// The file of contexts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Entry>,
}

/// The chosen context.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) name: String,
    pub(crate) admin: String,
    pub(crate) region: RegionName,
    pub(crate) installation: String,
    pub(crate) identity: PathBuf,
    pub(crate) router: Option<String>,
    pub(crate) processes_addr: Option<String>,
    pub(crate) enrollment_addr: Option<String>,
    pub(crate) tokens_addr: Option<String>,
    pub(crate) service_account: Option<PathBuf>,
    /// The file that it comes from.
    pub(crate) source: PathBuf,
    /// The region's processes, where they run here.
    pub(crate) processes: Vec<Process>,
}

impl Contexts {
    /// `None` when there is no file.
    pub(crate) fn read(file: &Path) -> Result<Option<Self>, Failure> {
        match fs::read_to_string(file) {
            Ok(text) => toml::from_str(&text)
                .map(Some)
                .map_err(|error| Failure::usage(format!("{} is malformed: {error}", file.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(file, &error)),
        }
    }

    /// Whole or not at all.
    pub(crate) fn write(&self, file: &Path) -> Result<(), Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::failed(format!("cannot write {}: {error}", file.display()))
        };
        let text = toml::to_string_pretty(self).map_err(|error| failed(&error))?;
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory).map_err(|error| failed(&error))?;
        }
        let new = file.with_extension("toml.new");
        fs::write(&new, text).map_err(|error| failed(&error))?;
        fs::rename(&new, file).map_err(|error| failed(&error))
    }

    fn choose(&self, selection: &Selection) -> Result<(&String, &Entry), Failure> {
        if let Some(name) = &selection.context {
            let found = self.contexts.get_key_value(name);
            let (name, entry) = found.ok_or_else(|| {
                Failure::usage(format!("there is no context {name:?}")).hint(self.known("--context"))
            })?;
            return match &selection.region {
                Some(region) if *region != entry.region => Err(Failure::usage(format!(
                    "the context {name:?} is of region {}, not of {region}",
                    entry.region
                ))),
                _ => Ok((name, entry)),
            };
        }
        if let Some(region) = &selection.region {
            let mut found = self.contexts.iter().filter(|(_, entry)| entry.region == *region);
            return match (found.next(), found.next()) {
                (Some(one), None) => Ok(one),
                (None, _) => Err(Failure::usage(format!("there is no context of region {region:?}"))
                    .hint(self.known("--context"))),
                (Some(_), Some(_)) => {
                    Err(Failure::usage(format!("more than one context is of region {region:?}"))
                        .hint(self.known("--context")))
                }
            };
        }
        let current = self.current.as_ref().and_then(|name| self.contexts.get_key_value(name));
        let only = || self.contexts.iter().next().filter(|_| self.contexts.len() == 1);
        current.or_else(only).ok_or_else(|| {
            Failure::usage("which context?")
                .hint(format!("{}, or bailiwick context use NAME", self.known("--context")))
        })
    }

    fn known(&self, option: &str) -> String {
        let names: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
        if names.is_empty() { "there are none".to_owned() } else { format!("{option} {}", names.join(" | ")) }
    }
}

impl Context {
    /// The context that the arguments and the environment lead to.
    pub(crate) fn resolve(selection: &Selection, environment: &Environment) -> Result<Self, Failure> {
        // Whoever names a local installation means it, whatever contexts there are besides.
        let local_is_meant = environment.local.is_some() && environment.config.is_none();
        let contexts_file = environment.contexts_file().filter(|_| !local_is_meant);
        if let Some(file) = contexts_file
            && let Some(contexts) = Contexts::read(&file)?
            && (!contexts.contexts.is_empty() || environment.config.is_some())
        {
            let (name, entry) = contexts.choose(selection)?;
            return Self::new(name, entry, file, Vec::new());
        }
        Self::resolve_local(selection, environment)
    }

    /// Every context there is, for what concerns several regions at once.
    pub(crate) fn all(environment: &Environment) -> Result<Vec<Self>, Failure> {
        let local_is_meant = environment.local.is_some() && environment.config.is_none();
        let contexts_file = environment.contexts_file().filter(|_| !local_is_meant);
        if let Some(file) = contexts_file
            && let Some(contexts) = Contexts::read(&file)?
            && (!contexts.contexts.is_empty() || environment.config.is_some())
        {
            let each = contexts.contexts.iter();
            return each.map(|(name, entry)| Self::new(name, entry, file.clone(), Vec::new())).collect();
        }
        let file = environment.local_file();
        let Some(installation) = LocalInstallation::read(&file)? else {
            return Err(no_context(&file));
        };
        let contexts = installation.contexts();
        let each = contexts
            .iter()
            .map(|(name, entry)| Self::new(name, entry, file.clone(), installation.processes(name)));
        each.collect()
    }

    fn resolve_local(selection: &Selection, environment: &Environment) -> Result<Self, Failure> {
        let file = environment.local_file();
        let Some(installation) = LocalInstallation::read(&file)? else {
            return Err(no_context(&file));
        };
        let contexts = installation.contexts();
        let by_region = Contexts { current: None, contexts };
        let chosen = by_region.choose(selection).map_err(|failure| match failure.hint {
            Some(_) if selection.context.is_none() => Failure {
                hint: Some(by_region.known("--region")),
                message: failure.message.replace("which context", "which region"),
                ..failure
            },
            _ => failure,
        })?;
        let (name, entry) = chosen;
        let processes = installation.processes(name);
        Self::new(name, entry, file, processes)
    }

    fn new(name: &str, entry: &Entry, source: PathBuf, processes: Vec<Process>) -> Result<Self, Failure> {
        let region = entry
            .region
            .parse()
            .map_err(|error| Failure::usage(format!("context {name}: {:?}: {error}", entry.region)))?;
        Ok(Self {
            name: name.to_owned(),
            admin: entry.admin.clone(),
            region,
            installation: entry.installation.clone(),
            identity: entry.identity.clone(),
            router: entry.router.clone(),
            processes_addr: entry.processes.clone(),
            enrollment_addr: entry.enrollment.clone(),
            tokens_addr: entry.tokens.clone(),
            service_account: entry.service_account.clone(),
            source,
            processes,
        })
    }
}

fn no_context(file: &Path) -> Failure {
    Failure::usage(format!("there is no context, and no {}", file.display()))
        .hint("bailiwick context add, or bailiwick context import FILE for a local installation")
}

#[cfg(test)]
mod tests;
