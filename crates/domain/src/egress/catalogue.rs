//! Endpoints of well-known providers and where they process what they are sent, as `data/provider_hosts.csv` holds them: each with the provider's own
//! statement and the day on which it was read. An operator takes a provider's entries as rules, and can state otherwise for a host of his
//! own.

use std::{collections::BTreeSet, sync::OnceLock};

use serde::Deserialize;

use super::{EgressRule, HostPattern};
use crate::law::LegalJurisdiction;

const BUILTIN: &str = include_str!("../../data/provider_hosts.csv");

/// What a host is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Serves {
    /// Calls: it is sent what callers say.
    Calls,
    /// Tokens for providers' credentials: it is told who an organization is to its provider, and nothing of a call.
    Tokens,
}

/// An endpoint of a well-known provider.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownHost {
    /// What it is called for.
    pub serves: Serves,
    /// By which operators name it, e.g. `mistral`.
    pub provider: String,
    /// Its hosts.
    pub pattern: HostPattern,
    /// Where they process what they are sent.
    pub jurisdiction: LegalJurisdiction,
    /// Where the provider says so.
    pub source: String,
    /// When that was read, `YYYY-MM-DD`.
    pub read_on: String,
    /// What else is to know; may be empty.
    pub note: String,
}

impl KnownHost {
    /// As a rule.
    pub fn rule(&self) -> EgressRule {
        let (pattern, jurisdiction) = (self.pattern.clone(), self.jurisdiction.clone());
        EgressRule { pattern, jurisdiction, private_ranges: Vec::new() }
    }
}

/// All entries that ship with the program.
pub fn builtin() -> &'static [KnownHost] {
    static CATALOGUE: OnceLock<Vec<KnownHost>> = OnceLock::new();
    CATALOGUE.get_or_init(|| {
        let mut reader = csv::Reader::from_reader(BUILTIN.as_bytes());
        // A row that cannot be read admits nothing; a test reads them all.
        reader.deserialize().filter_map(Result::ok).collect()
    })
}

/// Entries of one provider; none of an unknown one.
pub fn of_provider(provider: &str) -> impl Iterator<Item = &'static KnownHost> {
    builtin().iter().filter(move |known| known.provider == provider)
}

/// Names of all providers.
pub fn providers() -> BTreeSet<&'static str> {
    builtin().iter().map(|known| known.provider.as_str()).collect()
}

#[cfg(test)]
mod tests;
