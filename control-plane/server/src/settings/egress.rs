//! `[egress]`: which provider endpoints there are, and in whose jurisdiction each of them answers.

use bailiwick_domain::egress::{EgressPolicy, EgressRule, catalogue};
use bailiwick_runtime::configuration::{Problems, RegionSection};
use serde::Deserialize;

/// More would have to be looked through by people.
const MOST_RULES: usize = 10_000;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawEgress {
    #[serde(default)]
    hosts: Vec<EgressRule>,
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
    if raw.hosts.len() > MOST_RULES {
        problems.report("hosts", format_args!("has more than {MOST_RULES} entries"));
        return None;
    }
    let catalogued =
        raw.catalogue.iter().flat_map(|name| catalogue::of_provider(name)).map(|known| known.rule());
    let home = region?.region().jurisdiction.clone();
    EgressPolicy::new(home, raw.hosts.into_iter().chain(catalogued))
        .map_err(|error| problems.report("hosts", error))
        .ok()
}
