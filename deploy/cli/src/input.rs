//! What is read from people and files: secrets, which never stand in an argument list, and yes or no.

use std::{
    io::{BufRead, IsTerminal, Read},
    path::{Path, PathBuf},
};

use clap::Args;
use secrecy::SecretString;

use crate::{failure::Failure, output::Output};

/// The server takes 4096 bytes; one more shows that there were too many, with the end of line.
const SECRET_LIMIT_BYTES: u64 = 4096 + 3;

/// Where a secret comes from.
#[derive(Debug, Args)]
pub(crate) struct SecretSource {
    /// File that holds the provider's secret; without it, the secret is read from standard input
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

impl SecretSource {
    pub(crate) fn read(&self) -> Result<SecretString, Failure> {
        let text = match &self.secret_file {
            Some(file) => secret_in(file)?,
            None if std::io::stdin().is_terminal() => {
                return Err(Failure::usage("no secret: a terminal would show it while it is typed")
                    .hint("give --secret-file FILE, or pipe it in: pass show openai | bailiwick credential create …"));
            }
            None => read_limited(std::io::stdin(), "standard input")?,
        };
        Ok(text)
    }
}

/// A file's only line.
pub(crate) fn secret_in(file: &Path) -> Result<SecretString, Failure> {
    let opened = std::fs::File::open(file).map_err(|error| unreadable(file, &error))?;
    read_limited(opened, &file.display().to_string())
}

/// Without the end of line that editors and `echo` add.
fn read_limited(from: impl Read, name: &str) -> Result<SecretString, Failure> {
    let mut text = String::new();
    from.take(SECRET_LIMIT_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| Failure::failed(format!("cannot read the secret from {name}: {error}")))?;
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = SecretString::from(secret.strip_suffix('\r').unwrap_or(secret));
    if secrecy::ExposeSecret::expose_secret(&secret).is_empty() {
        return Err(Failure::usage(format!("the secret from {name} is empty")));
    }
    Ok(secret)
}

/// One line of standard input, such as a key.
pub(crate) fn line() -> Result<SecretString, Failure> {
    read_limited(std::io::stdin(), "standard input")
}

pub(crate) fn unreadable(file: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("cannot read {}: {error}", file.display()))
}

/// The answer to "are you sure".
#[derive(Debug, Args)]
pub(crate) struct Consent {
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Consent {
    /// Passes with `--yes`, or when somebody at the terminal agrees.
    pub(crate) fn obtain(&self, what: &str, output: &Output) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            return Err(Failure::usage(format!("{what}: nobody is here to agree")).hint("add --yes"));
        }
        output.ask(&format!("{what}? [y/N] "));
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        match (read, answer.trim().to_ascii_lowercase().as_str()) {
            (Ok(_), "y" | "yes") => Ok(()),
            _ => Err(Failure::failed("not agreed: nothing was changed")),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn one_end_of_line_is_not_part_of_a_secret() {
        for (text, secret) in
            [("sk-1", "sk-1"), ("sk-1\n", "sk-1"), ("sk-1\r\n", "sk-1"), ("sk-1\n\n", "sk-1\n")]
        {
            assert_eq!(read_limited(text.as_bytes(), "x").unwrap().expose_secret(), secret);
        }
        assert!(read_limited("\n".as_bytes(), "x").is_err());
    }
}
