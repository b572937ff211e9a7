//! Accounts to be charged.

use bailiwick_domain::{jurisdiction::Jurisdiction, key::ApiKey, region::Regions, time::Timestamp};
use bailiwick_quota::limit::{Account, Call, Limit, LimitId, Measure, MemberNumber, Scope};

/// A minute's beginning.
pub(crate) const START: Timestamp = Timestamp::from_micros(1_790_000_040_000_000);

/// A limit of one organization, and its account.
pub(crate) fn limit(measure: Measure, amount: u64) -> (Limit, Account) {
    let region = Regions::builtin().iter().next().expect("a region").clone();
    let here = Jurisdiction::of(&region);
    let organization = *here.mint(START, 7);
    let number = Measure::ALL.iter().position(|other| *other == measure).expect("listed");
    let id = LimitId { organization, number: u32::try_from(number).expect("few") };
    let limit = Limit::new(id, measure, Scope::ORGANIZATION, amount).expect("a small amount");
    let key = ApiKey::generate(here.code()).key_id();
    let call = Call {
        organization,
        key,
        member: Some(MemberNumber(1)),
        model: *here.mint(START, 8),
        deployment: None,
    };
    let account = limit.account(&call).expect("its own organization");
    (limit, account)
}
