//! Which guards a test takes away from this process: `BAILIWICK_REMOVE_GUARD`, names with commas between them.
//!
//! A release build that finds the variable does not start, whatever it says: somebody meant to weaken a process that serves tenants, or took a test's
//! environment for an operator's.

use bailiwick_domain::guard::{Guard, NoSuchGuard};

/// Names the guards.
const VARIABLE: &str = "BAILIWICK_REMOVE_GUARD";

/// Takes away what the environment names. Nothing, without a word, where it names nothing.
pub(super) fn remove_named() -> Result<(), GuardError> {
    let Some(named) = super::variable(VARIABLE) else { return Ok(()) };
    for guard in removable(&named, cfg!(debug_assertions))? {
        remove(guard);
    }
    Ok(())
}

/// What `named` takes away from a build that can go without it.
pub(super) fn removable(named: &str, by_this_build: bool) -> Result<Vec<Guard>, GuardError> {
    if !by_this_build {
        return Err(GuardError::Build);
    }
    let names = named.split(',').map(str::trim);
    names
        .map(|name| name.parse().map_err(|source| GuardError::Name { name: name.to_owned(), source }))
        .collect()
}

#[cfg(debug_assertions)]
fn remove(guard: Guard) {
    guard.remove();
}

/// Never reached: [`removable`] has refused.
#[cfg(not(debug_assertions))]
fn remove(_guard: Guard) {}

/// Why a process does not start without a guard.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// It is a release build.
    #[error(
        "{VARIABLE} is set: guards are taken away in tests only, never from what serves tenants; unset it"
    )]
    Build,
    /// No guard has this name.
    #[error("{VARIABLE} names {name:?}")]
    Name {
        /// What it names.
        name: String,
        /// What is wrong with that.
        source: NoSuchGuard,
    },
}
