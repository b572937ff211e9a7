//! What a process shall be: one TOML file, overridden by environment variables, read once at start.
//!
//! A configuration has two shapes. The *raw* one is what serde reads: every field optional, unknown ones denied. The *checked*
//! one is what the process works with. Between them stands [`Checked::check`], which reports every problem with its key path,
//! so an operator mends a file in one go. `check-config` is [`load`] and nothing else.
//!
//! The environment is read in this module alone, and hidden first ([`take_environment`]): `<PREFIX>SECTION__KEY=value` sets `key` in `[section]`. Secrets are never
//! values of a configuration: a [`SecretSource`] says in which file or variable one is, and no message repeats a value.

mod environment;
mod guards;
mod joining;
mod outgoing;
mod problems;
mod secret;
mod sections;

#[cfg(test)]
pub(crate) mod tests;

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;

pub use environment::{EnvironmentError, take_environment, variable};
pub use guards::GuardError;
pub use joining::{
    ControlPlaneSection, IdentitySection, RawControlPlaneSection, RawIdentitySection, host_and_port,
};
pub use outgoing::{
    Collector, LogFormat, RawResolverSection, RawTelemetrySection, ResolverSection, TelemetrySection,
};
pub use problems::{Problem, Problems};
pub use secret::{SecretError, SecretSource};
pub use sections::{OpsSection, RawOpsSection, RawRegionSection, RegionSection};

/// A configuration, or a section of one.
pub trait Checked: Sized {
    /// What serde reads: fields optional (so that a missing one is reported with the others), `deny_unknown_fields`.
    type Raw: DeserializeOwned;

    /// Turns what was read into what is meant. Reports everything that is wrong, and is `None` when anything was.
    fn check(raw: Self::Raw, problems: &mut Problems) -> Option<Self>;
}

/// Reads a configuration from a file, overridden by environment variables that start with `env_prefix` and contain `__`
/// (`BAILIWICK_WORKER_SERVE__LISTEN` sets `listen` in `[serve]` for the prefix `BAILIWICK_WORKER_`).
///
/// # Errors
/// The file cannot be read, is not TOML, or has problems: all of them, each with its key path. Or the environment would take a guard away, and cannot.
pub fn load<C: Checked>(file: Option<&Path>, env_prefix: &str) -> Result<C, ConfigurationError> {
    guards::remove_named()?;
    let text = match file {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|source| ConfigurationError::Unreadable { path: path.to_owned(), source })?,
        None => String::new(),
    };
    from_text(&text, env_prefix)
}

fn from_text<C: Checked>(text: &str, env_prefix: &str) -> Result<C, ConfigurationError> {
    // Settings all stand in sections; a variable without `__` is something else, such as the target of a `SecretSource`.
    let visible = Env::prefixed(env_prefix).filter(|name| name.as_str().contains("__")).split("__");
    let sources = Figment::from(Toml::string(text)).merge(visible);
    let taken = environment::overrides(env_prefix).into_iter();
    checked(taken.fold(sources, |sources, (path, value)| sources.merge(Serialized::default(&path, value))))
}

fn without_environment<C: Checked>(text: &str) -> Result<C, ConfigurationError> {
    checked(Figment::from(Toml::string(text)))
}

fn checked<C: Checked>(sources: Figment) -> Result<C, ConfigurationError> {
    let merged: Dict =
        sources.extract().map_err(|error| ConfigurationError::Problems(vec![problems::of_syntax(&error)]))?;
    let mut problems = Problems::default();
    let checked =
        read_past_problems::<C::Raw>(merged, &mut problems).and_then(|raw| C::check(raw, &mut problems));
    match (checked, problems.into_list()) {
        (Some(checked), list) if list.is_empty() => Ok(checked),
        (_, list) => Err(ConfigurationError::Problems(list)),
    }
}

/// Reads the raw shape. Serde stops at its first problem, so each is reported, the value that it is about left out, and the rest read again.
fn read_past_problems<R: DeserializeOwned>(mut values: Dict, problems: &mut Problems) -> Option<R> {
    for _round in 0..problems::MAX {
        let errors = match Figment::from(Serialized::defaults(&values)).extract_lossy::<R>() {
            Ok(raw) => return Some(raw),
            Err(errors) => errors,
        };
        for error in errors {
            let (path, problem) = problems::of_value(&error);
            let removed = remove(&mut values, &path);
            problems.report(&path.join("."), problem);
            if !removed {
                return None;
            }
        }
    }
    None
}

/// Removes the value at a key path; false when there is none.
fn remove(values: &mut Dict, path: &[String]) -> bool {
    match path {
        [] => false,
        [key] => values.remove(key).is_some(),
        [key, rest @ ..] => match values.get_mut(key) {
            Some(Value::Dict(_tag, inner)) => remove(inner, rest),
            // Inside an array: leave the whole array out.
            Some(_) => values.remove(key).is_some(),
            None => false,
        },
    }
}

/// Why a process cannot start with its configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigurationError {
    /// No such file, or no permission.
    #[error("cannot read the configuration {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A guard would be taken away.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// Everything that is wrong with it.
    #[error("{}", problems::display(.0))]
    Problems(Vec<Problem>),
}
