use bailiwick_domain::{
    jurisdiction::Jurisdiction,
    key::ApiKey,
    region::{Region, Regions},
    time::Timestamp,
};

use super::*;

fn region() -> Region {
    Regions::builtin().iter().next().expect("a region").clone()
}

fn call(seed: u128) -> Call {
    let here = Jurisdiction::of(&region());
    let now = Timestamp::from_micros(1_790_000_000_000_000);
    Call {
        organization: *here.mint(now, seed),
        key: ApiKey::generate(here.code()).key_id(),
        member: Some(MemberNumber(seed)),
        model: *here.mint(now, seed + 1),
        deployment: None,
    }
}

fn limit(call: &Call, scope: Scope) -> Limit {
    let id = LimitId { organization: call.organization, number: 1 };
    Limit::new(id, Measure::RequestsPerMinute, scope, 10).expect("small")
}

#[test]
fn a_limit_never_counts_another_organizations_call() {
    let (ours, theirs) = (call(1), call(2));
    for scope in [
        Scope::ORGANIZATION,
        Scope { key: Over::Each, ..Scope::ORGANIZATION },
        Scope { key: Over::One(theirs.key), ..Scope::ORGANIZATION },
    ] {
        assert_eq!(limit(&ours, scope).account(&theirs), None);
    }
}

#[test]
fn each_key_has_an_account_of_its_own_and_all_share_one_otherwise() {
    let first = call(1);
    let second = Call { key: call(1).key, ..first };
    let shared = limit(&first, Scope::ORGANIZATION);
    assert_eq!(shared.account(&first), shared.account(&second));
    let each = limit(&first, Scope { key: Over::Each, ..Scope::ORGANIZATION });
    assert_ne!(each.account(&first), each.account(&second));
    assert!(each.owns(&each.account(&first).expect("ours")));
    assert!(!shared.owns(&each.account(&first).expect("ours")));
    let one = limit(&first, Scope { key: Over::One(first.key), ..Scope::ORGANIZATION });
    assert!(one.account(&first).is_some());
    assert_eq!(one.account(&second), None);
}

#[test]
fn a_members_limit_does_not_count_calls_of_no_member() {
    let nobody = Call { member: None, ..call(1) };
    assert_eq!(limit(&nobody, Scope { member: Over::Each, ..Scope::ORGANIZATION }).account(&nobody), None);
    assert!(limit(&nobody, Scope::ORGANIZATION).account(&nobody).is_some());
}

#[test]
fn a_deployments_limit_counts_calls_that_are_sent_there_and_none_before() {
    let here = Jurisdiction::of(&region());
    let [first, second] = [7, 8].map(|seed| *here.mint(Timestamp::from_micros(1), seed));
    let at = |deployment| Call { deployment: Some(deployment), ..call(1) };
    let one = limit(&call(1), Scope { deployment: Over::One(first), ..Scope::ORGANIZATION });
    let each = limit(&call(1), Scope { deployment: Over::Each, ..Scope::ORGANIZATION });
    assert!(one.is_of_deployments() && each.is_of_deployments());
    assert!(!limit(&call(1), Scope::ORGANIZATION).is_of_deployments());
    assert_eq!((one.account(&call(1)), each.account(&call(1))), (None, None));
    assert_eq!(one.account(&at(second)), None);
    assert!(one.owns(&one.account(&at(first)).expect("there")));
    assert_ne!(each.account(&at(first)), each.account(&at(second)));
    assert!(
        each.owns(&each.account(&at(first)).expect("there"))
            && !one.owns(&each.account(&at(first)).expect("there"))
    );
}

#[test]
fn r1_a_limit_and_its_accounts_name_their_region() {
    let call = call(1);
    let limit = limit(&call, Scope::ORGANIZATION);
    assert_eq!(limit.id().region_code(), region().code);
    assert_eq!(limit.account(&call).expect("ours").region_code(), region().code);
}

#[test]
fn amounts_that_could_overflow_are_refused() {
    let id = LimitId { organization: call(1).organization, number: 1 };
    let limit = |amount| Limit::new(id, Measure::NanoUsdTotal, Scope::ORGANIZATION, amount);
    assert!(limit(MAX_AMOUNT).is_ok());
    assert_eq!(limit(MAX_AMOUNT + 1), Err(LimitError::Amount));
}

#[test]
fn a_limits_name_and_a_measures_word_are_read_back() {
    let regions = bailiwick_domain::region::Regions::builtin();
    let region = regions.iter().next().expect("a region").clone();
    let here = bailiwick_domain::jurisdiction::Jurisdiction::of(&region);
    let id =
        LimitId { organization: *here.mint(bailiwick_domain::time::Timestamp::from_micros(1), 1), number: 7 };
    assert_eq!(id.to_string().parse(), Ok(id));
    for text in ["", "7", "/limits/7", &format!("{}/limits/", id.organization), &format!("{id}x")] {
        assert_eq!(text.parse::<LimitId>(), Err(LimitIdError), "{text}");
    }
    for measure in Measure::ALL {
        assert_eq!(Measure::parse(measure.as_str()), Some(*measure));
    }
    assert_eq!(Measure::parse("requests"), None);
}
