use std::time::Duration;

use super::*;

#[test]
fn retries_are_a_fifth_of_the_calls_and_what_was_saved_up() {
    let (mut budget, now) = (Budget::default(), Instant::now());
    let mut retries = 0;
    for _ in 0..10_000 {
        budget.called();
        retries += u32::from(budget.withdraw(now));
    }
    let most = 10_000 / RETRY + FULL / RETRY;
    assert!((most - 1..=most).contains(&retries), "{retries}, not {most}");
}

#[test]
fn a_few_a_second_are_free_and_no_more_than_ten_seconds_of_them_are_saved_up() {
    let (mut budget, mut now) = (Budget::default(), Instant::now());
    let mut all = |now| (0..1000).filter(|_| budget.withdraw(now)).count();
    assert_eq!(all(now), 100);
    now += Duration::from_secs(1);
    assert_eq!(all(now), 10);
    now += Duration::from_secs(3600);
    assert_eq!(all(now), 100);
}

#[test]
fn a_second_in_pieces_earns_as_much() {
    let (mut budget, start) = (Budget::default(), Instant::now());
    while budget.withdraw(start) {}
    let earned = (1..=1000).filter(|millis| budget.withdraw(start + Duration::from_millis(*millis))).count();
    assert!((8..=10).contains(&earned), "{earned}");
}
