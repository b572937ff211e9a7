//! What tests of limits share: a control plane that lends, and limits to lend of.

pub(crate) mod control_plane;

use bailiwick_domain::{id::OrganizationId, jurisdiction::Jurisdiction, region::Regions, time::Timestamp};
use bailiwick_quota::limit::{Limit, LimitId, Measure, Scope};

/// The region of the tests.
pub(crate) fn home() -> Jurisdiction {
    Jurisdiction::of(Regions::builtin().by_name_str("eu-central-1").unwrap())
}

/// An organization of it.
pub(crate) fn organization() -> OrganizationId {
    home().mint(Timestamp::from_micros(1_790_000_000_000_000), 7).into_inner()
}

/// A limit of the whole organization.
pub(crate) fn limit(organization: OrganizationId, number: u32, measure: Measure, amount: u64) -> Limit {
    Limit::new(LimitId { organization, number }, measure, Scope::ORGANIZATION, amount).unwrap()
}
