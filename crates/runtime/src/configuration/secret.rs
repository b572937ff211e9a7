//! Where a secret is: a configuration names a file or a variable, never the secret.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;
use zeroize::Zeroizing;

/// The longest secret that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// `{ file = "…" }` or `{ env = "NAME" }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawSecretSource")]
pub enum SecretSource {
    /// The content of a file, without white space around it.
    File(PathBuf),
    /// The value of an environment variable.
    Env(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSecretSource {
    file: Option<PathBuf>,
    env: Option<String>,
}

impl TryFrom<RawSecretSource> for SecretSource {
    type Error = &'static str;

    fn try_from(raw: RawSecretSource) -> Result<Self, &'static str> {
        match (raw.file, raw.env) {
            (Some(file), None) => Ok(Self::File(file)),
            (None, Some(name)) => Ok(Self::Env(name)),
            _ => Err("expected either { file = \"…\" } or { env = \"NAME\" }"),
        }
    }
}

impl SecretSource {
    /// Reads the secret, each time anew.
    ///
    /// # Errors
    /// The file or the variable is missing, empty, too long or not text.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        let text = match self {
            Self::File(path) => read_file(path)?,
            Self::Env(name) => read_variable(name)?,
        };
        let trimmed = text.trim();
        if trimmed.is_empty() { Err(SecretError::Empty(self.to_string())) } else { Ok(trimmed.into()) }
    }
}

impl std::fmt::Display for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Env(name) => write!(f, "the environment variable {name}"),
        }
    }
}

fn read_file(path: &std::path::Path) -> Result<Zeroizing<String>, SecretError> {
    let unreadable = |source| SecretError::Unreadable { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_BYTES {
        return Err(SecretError::TooLong(path.to_owned()));
    }
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(unreadable)
}

fn read_variable(name: &str) -> Result<Zeroizing<String>, SecretError> {
    super::variable(name).ok_or_else(|| SecretError::NoVariable(name.to_owned()))
}

/// Why a secret cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// No such file, no permission, or not text.
    #[error("cannot read the secret in {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Larger than 64 KiB.
    #[error("the secret in {} is longer than 64 KiB", .0.display())]
    TooLong(PathBuf),
    /// The variable is not set, or not text.
    #[error("the environment variable {0} is not set to a text")]
    NoVariable(String),
    /// Nothing but white space.
    #[error("{0} is empty")]
    Empty(String),
}
