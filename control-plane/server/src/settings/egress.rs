//! `[egress]`: which provider endpoints there are, in whose jurisdiction each of them answers, and where tokens for them may be had.

use bailiwick_domain::egress::{
    EgressPolicy, EgressRule,
    catalogue::{self, Serves},
};
use bailiwick_runtime::configuration::{Problems, RegionSection};
use serde::Deserialize;

/// More would have to be looked through by people.
const MOST_RULES: usize = 10_000;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawEgress {
    #[serde(default)]
    hosts: Vec<EgressRule>,
    /// Hosts that issue tokens for credentials of Entra and of Google. They are told who an organization is to its provider, and nothing of a call: no residency is
    /// asked, and no call goes there.
    #[serde(default)]
    issuers: Vec<EgressRule>,
    /// Providers whose endpoints are taken as they stand in the catalogue.
    #[serde(default)]
    catalogue: Vec<String>,
}

/// The operator's own rules go before the catalogue's.
pub(super) fn check(
    raw: RawEgress,
    region: Option<&RegionSection>,
    problems: &mut Problems,
) -> Option<EgressPolicy> {
    let known = catalogue::providers();
    if raw.catalogue.iter().any(|name| !known.contains(name.as_str())) {
        let known: Vec<&str> = known.into_iter().collect();
        problems.report(
            "catalogue",
            format_args!("names a provider that is not in it; there are {}", known.join(", ")),
        );
        return None;
    }
    for (name, rules) in [("hosts", &raw.hosts), ("issuers", &raw.issuers)] {
        if rules.len() > MOST_RULES {
            problems.report(name, format_args!("has more than {MOST_RULES} entries"));
            return None;
        }
    }
    let catalogued = |serves: Serves| {
        let named = raw.catalogue.iter().flat_map(|name| catalogue::of_provider(name));
        named.filter(move |known| known.serves == serves).map(|known| known.rule())
    };
    let home = region?.region().jurisdiction.clone();
    let policy = EgressPolicy::new(home, raw.hosts.into_iter().chain(catalogued(Serves::Calls)))
        .map_err(|error| problems.report("hosts", error))
        .ok()?;
    policy
        .with_issuers(raw.issuers.into_iter().chain(catalogued(Serves::Tokens)))
        .map_err(|error| problems.report("issuers", error))
        .ok()
}
