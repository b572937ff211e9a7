use bailiwick_domain::time::SystemClock;

use super::*;

#[test]
fn statuses_are_told_apart() {
    let none = HeaderSection::default();
    let of = |status| of(StatusCode::from_u16(status).expect("good"), &none, &SystemClock);
    for status in [200, 201, 204, 307, 404, 409] {
        assert_eq!(of(status), Verdict::Answer, "{status}");
    }
    for status in [400, 413, 422] {
        assert_eq!(of(status), Verdict::MayBeRefusal, "{status}");
    }
    for status in [408, 500, 502, 503, 504, 529, 599] {
        assert_eq!(of(status), Verdict::Failure(Ill::Failing(None)), "{status}");
    }
    for status in [401, 402, 403] {
        assert_eq!(of(status), Verdict::Failure(Ill::Refusing), "{status}");
    }
    assert_eq!(of(429), Verdict::Failure(Ill::Limited(None)));
}

#[test]
fn a_limit_that_does_not_say_when_and_a_refused_credential_are_not_tried_again_at_the_same_place() {
    let second = Duration::from_secs(1);
    assert_eq!(worth_repeating(Ill::Limited(Some(second))), Some(Some(second)));
    assert_eq!(worth_repeating(Ill::Failing(None)), Some(None));
    assert_eq!(worth_repeating(Ill::Unreachable), Some(None));
    for useless in [Ill::Limited(None), Ill::Refusing, Ill::Late, Ill::Outside] {
        assert_eq!(worth_repeating(useless), None, "{useless:?}");
    }
}

#[test]
fn only_what_costs_nothing_is_repeated_after_its_request_was_written() {
    let free: Vec<_> = CallType::ALL.iter().copied().filter(|call| costs_nothing(*call)).collect();
    assert_eq!(free, [CallType::TokenCount, CallType::Moderation]);
}
