use bailiwick_domain::{key::ApiKey, region::Regions};
use bailiwick_quota::limit::MemberNumber;
use proptest::prelude::*;
use prost::Message as _;

use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

fn home(name: &str) -> Jurisdiction {
    Jurisdiction::of(Regions::builtin().by_name_str(name).expect("a built-in region"))
}

fn account(of: &Jurisdiction) -> Account {
    let limit = LimitId { organization: of.mint(NOW, 1).into_inner(), number: 3 };
    let key = Some(ApiKey::generate(of.code()).key_id());
    let (model, deployment) = (Some(of.mint(NOW, 2).into_inner()), Some(of.mint(NOW, 3).into_inner()));
    Account { limit, key, member: None, model, deployment }
}

prop_compose! {
    fn accounts()(number in any::<u32>(), by: [bool; 3]) -> Account {
        let Account { limit, key, model, deployment, .. } = account(&home("eu-central-1"));
        let (key, model) = (key.filter(|_| by[0]), model.filter(|_| by[1]));
        let deployment = deployment.filter(|_| by[2]);
        Account { limit: LimitId { number, ..limit }, key, member: None, model, deployment }
    }
}

prop_compose! {
    fn reports()(account in accounts(), starts: i64, counts: [u64; 9]) -> Report {
        let [opening, extra_seen, consumed, held, returned, urgent, demand, standing_version, recall] = counts;
        let window_starts = Timestamp::from_micros(starts);
        Report {
            account, window_starts, opening, extra_seen, consumed, held, returned, urgent, demand, standing_version,
            recall,
        }
    }
}

prop_compose! {
    fn leases()(account in accounts(), starts in i64::MIN..0, ends in 0_i64.., counts: [u64; 7], exhausted: bool) -> Lease {
        let [amount, extra, standing, standing_version, keep, recall, left] = counts;
        let window = Window { starts: Timestamp::from_micros(starts), ends: Timestamp::from_micros(ends) };
        Lease { account, window, amount, extra, standing, standing_version, keep, recall, exhausted, left }
    }
}

fn from_holder() -> impl Strategy<Value = FromHolder> {
    let hello = (any::<u64>(), prop::collection::vec(any::<u64>(), 0..=MAX_SUPERSEDED)).prop_map(
        |(nonce, supersedes)| {
            let supersedes = supersedes.into_iter().map(HolderId).collect();
            FromHolder::Hello(Hello { nonce, supersedes })
        },
    );
    let exchange = (any::<(u64, u64, bool)>(), prop::collection::vec(reports(), 0..5)).prop_map(
        |((holder, sequence, leaving), reports)| {
            FromHolder::Exchange(Exchange { holder: HolderId(holder), sequence, leaving, reports })
        },
    );
    let consumed = (accounts(), any::<(i64, u64)>()).prop_map(|(account, (starts, units))| Consumed {
        account,
        window_starts: Timestamp::from_micros(starts),
        units,
    });
    let settlement = (any::<u64>(), prop::collection::vec(consumed, 0..5))
        .prop_map(|(holder, used)| FromHolder::Settlement(Settlement { holder: HolderId(holder), used }));
    prop_oneof![hello, exchange, settlement]
}

fn to_holder() -> impl Strategy<Value = ToHolder> {
    let leases = (any::<(u64, u64, u64, i64)>(), prop::collection::vec(leases(), 0..5)).prop_map(
        |((holder, term, answers, now), leases)| {
            let now = Timestamp::from_micros(now);
            ToHolder::Leases(Leases { holder: HolderId(holder), term, answers, now, leases })
        },
    );
    prop_oneof![
        any::<(u64, u64)>().prop_map(|(nonce, holder)| ToHolder::Welcome { nonce, holder: HolderId(holder) }),
        any::<u64>().prop_map(|holder| ToHolder::Unknown { holder: HolderId(holder) }),
        any::<u64>().prop_map(|holder| ToHolder::Settled { holder: HolderId(holder) }),
        leases,
    ]
}

proptest! {
    #[test]
    fn what_a_worker_says_survives_the_wire(message in from_holder()) {
        let bytes = from_holder_to_wire(&message).encode_to_vec();
        let sent = wire::ExchangeRequest::decode(bytes.as_slice()).expect("encoded a moment ago");
        prop_assert_eq!(from_holder_from_wire(&home("eu-central-1"), &sent), Ok(message));
    }

    #[test]
    fn what_the_control_plane_says_survives_the_wire(message in to_holder()) {
        let sent = to_holder_to_wire(&message);
        let [sent] = sent.as_slice() else { return Err(TestCaseError::fail("one message")) };
        let bytes = sent.encode_to_vec();
        let sent = wire::ExchangeResponse::decode(bytes.as_slice()).expect("encoded a moment ago");
        prop_assert_eq!(to_holder_from_wire(&home("eu-central-1"), &sent), Ok(message));
    }

    #[test]
    fn whatever_bytes_come_are_refused_or_mean_something(bytes: Vec<u8>) {
        let eu = home("eu-central-1");
        if let Ok(message) = wire::ExchangeRequest::decode(bytes.as_slice())
            && let Ok(read) = from_holder_from_wire(&eu, &message)
        {
            prop_assert_eq!(from_holder_from_wire(&eu, &from_holder_to_wire(&read)), Ok(read));
        }
        if let Ok(message) = wire::ExchangeResponse::decode(bytes.as_slice()) {
            let _ = to_holder_from_wire(&eu, &message);
        }
    }
}

fn report(account: Account) -> Report {
    Report {
        account,
        window_starts: NOW,
        opening: 0,
        extra_seen: 0,
        consumed: 0,
        held: 0,
        returned: 0,
        urgent: 0,
        demand: 0,
        standing_version: 0,
        recall: 0,
    }
}

fn lease(account: Account) -> Lease {
    Lease {
        account,
        window: Window::ALWAYS,
        amount: 1,
        extra: 1,
        standing: 0,
        standing_version: 0,
        keep: u64::MAX,
        recall: 0,
        exhausted: false,
        left: 5,
    }
}

fn exchange(reports: Vec<Report>) -> FromHolder {
    FromHolder::Exchange(Exchange { holder: HolderId(1), sequence: 1, leaving: false, reports })
}

fn told(leases: Vec<Lease>) -> ToHolder {
    ToHolder::Leases(Leases { holder: HolderId(1), term: 1, answers: 1, now: NOW, leases })
}

#[test]
fn r5_accounts_of_another_region_are_refused_both_ways() {
    let (eu, us) = (home("eu-central-1"), home("us-west-1"));
    let (mine, foreign) = (account(&eu), account(&us));
    let smuggled = [
        Account { limit: foreign.limit, ..mine },
        Account { key: foreign.key, ..mine },
        Account { model: foreign.model, ..mine },
        Account { deployment: foreign.deployment, ..mine },
    ];
    for account in smuggled {
        let said = from_holder_to_wire(&exchange(vec![report(mine), report(account)]));
        assert!(matches!(from_holder_from_wire(&eu, &said), Err(ConvertError::Foreign(_))), "{account:?}");
        let used = vec![Consumed { account, window_starts: NOW, units: 1 }];
        let said = from_holder_to_wire(&FromHolder::Settlement(Settlement { holder: HolderId(1), used }));
        assert!(matches!(from_holder_from_wire(&eu, &said), Err(ConvertError::Foreign(_))), "{account:?}");
        for said in to_holder_to_wire(&told(vec![lease(account)])) {
            assert!(matches!(to_holder_from_wire(&eu, &said), Err(ConvertError::Foreign(_))), "{account:?}");
        }
    }
}

#[test]
fn a_message_that_holds_too_much_is_refused() {
    let eu = home("eu-central-1");
    let hello = |names| {
        from_holder_to_wire(&FromHolder::Hello(Hello { nonce: 1, supersedes: vec![HolderId(1); names] }))
    };
    assert!(from_holder_from_wire(&eu, &hello(64)).is_ok());
    assert!(from_holder_from_wire(&eu, &hello(65)).is_err());
    let reports = |count| from_holder_to_wire(&exchange(vec![report(account(&eu)); count]));
    assert!(from_holder_from_wire(&eu, &reports(10_000)).is_ok());
    assert!(from_holder_from_wire(&eu, &reports(10_001)).is_err());
    let settled = |count| {
        let consumed = Consumed { account: account(&eu), window_starts: NOW, units: u64::MAX };
        from_holder_to_wire(&FromHolder::Settlement(Settlement {
            holder: HolderId(1),
            used: vec![consumed; count],
        }))
    };
    assert!(from_holder_from_wire(&eu, &settled(10_000)).is_ok());
    assert!(from_holder_from_wire(&eu, &settled(10_001)).is_err());
    assert!(settled(10_000).encoded_len() < 4 << 20, "gRPC takes 4 MiB");
    let nothing = wire::ExchangeRequest { kind: None };
    assert!(from_holder_from_wire(&eu, &nothing).is_err());
}

#[test]
fn many_leases_go_in_several_messages_that_fit() {
    let eu = home("eu-central-1");
    let all = vec![lease(account(&eu)); 25_000];
    let messages = to_holder_to_wire(&told(all));
    let sizes = messages.iter().map(|message| match to_holder_from_wire(&eu, message).expect("good") {
        ToHolder::Leases(leases) => leases.leases.len(),
        other => panic!("{other:?}"),
    });
    assert_eq!(sizes.collect::<Vec<_>>(), [10_000, 10_000, 5_000]);
    let largest = messages.iter().map(|message| message.encoded_len()).max().expect("some");
    assert!(largest < 4 << 20, "gRPC takes 4 MiB, not {largest}");
}

#[test]
fn accounts_of_members_stay_at_home_and_empty_windows_are_refused() {
    let eu = home("eu-central-1");
    let of_member = Account { member: Some(MemberNumber(1)), ..account(&eu) };
    let said = from_holder_to_wire(&exchange(vec![report(of_member)]));
    let Ok(FromHolder::Exchange(heard)) = from_holder_from_wire(&eu, &said) else { panic!("good") };
    assert_eq!(heard.reports, []);
    let empty = Lease { window: Window { starts: NOW, ends: NOW }, ..lease(account(&eu)) };
    for said in to_holder_to_wire(&told(vec![empty])) {
        assert!(to_holder_from_wire(&eu, &said).is_err());
    }
}
