use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn an_hour_starts_at_or_before_its_instants(micros: i64) {
        let hour = Timestamp::from_micros(micros).hour();
        prop_assert!(hour.as_micros() <= micros);
        if micros > i64::MIN + MICROS_PER_HOUR {
            prop_assert!(micros - hour.as_micros() < MICROS_PER_HOUR);
            prop_assert_eq!(hour.hour(), hour);
        }
    }

    #[test]
    fn checked_sums_agree_with_bounded_ones(micros: i64, by: u64) {
        let (at, by) = (Timestamp::from_micros(micros), Duration::from_micros(by));
        if let Some(later) = at.checked_add(by) {
            prop_assert_eq!(later, at.saturating_add(by));
            prop_assert_eq!(later.saturating_since(at), by);
            prop_assert_eq!(later.checked_sub(by), Some(at));
        } else {
            prop_assert!(micros > 0 || i64::try_from(by.as_micros()).is_err());
        }
    }
}

#[test]
fn the_ends_of_time_do_not_overflow() {
    let (first, last) = (Timestamp::from_micros(i64::MIN), Timestamp::from_micros(i64::MAX));
    assert_eq!(first.hour(), first);
    assert_eq!(last.saturating_add(Duration::MAX), last);
    assert_eq!(first.saturating_sub(Duration::MAX), first);
    assert_eq!(first.saturating_since(last), Duration::ZERO);
    assert_eq!(
        (last.checked_add(Duration::from_micros(1)), first.checked_sub(Duration::from_micros(1))),
        (None, None)
    );
    assert_eq!(first.as_millis(), 0);
}

#[test]
fn a_manual_clock_moves_only_when_told() {
    let clock = ManualClock::at(Timestamp::from_micros(5));
    assert_eq!((clock.now(), clock.now()), (Timestamp::from_micros(5), Timestamp::from_micros(5)));
    clock.advance(Duration::from_micros(2));
    assert_eq!(clock.now(), Timestamp::from_micros(7));
}
