use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp::from_micros(text.parse::<jiff::Timestamp>().expect("an instant").as_microsecond())
}

#[test]
fn days_and_months_follow_the_calendar_of_utc() {
    let leap = at("2028-02-29T23:59:59.999999Z");
    assert_eq!(
        Period::Day.window(leap),
        Window { starts: at("2028-02-29T00:00:00Z"), ends: at("2028-03-01T00:00:00Z") }
    );
    assert_eq!(
        Period::Month.window(leap),
        Window { starts: at("2028-02-01T00:00:00Z"), ends: at("2028-03-01T00:00:00Z") }
    );
    let december = Period::Month.window(at("2026-12-31T12:00:00Z"));
    assert_eq!(december.ends, at("2027-01-01T00:00:00Z"));
    assert_eq!(Period::Minute.window(at("2026-11-25T18:33:59.999999Z")).ends, at("2026-11-25T18:34:00Z"));
}

proptest! {
    #[test]
    fn windows_tile_time(micros in -60_000_000_000_000_000_i64..200_000_000_000_000_000) {
        let at = Timestamp::from_micros(micros);
        for period in [Period::Minute, Period::Day, Period::Month, Period::Always] {
            let window = period.window(at);
            prop_assert!(window.contains(at), "{:?} {:?}", period, window);
            prop_assert_eq!(period.window(window.starts), window);
            if !window.is_endless() {
                let next = period.window(window.ends);
                prop_assert_eq!(next.starts, window.ends);
            }
        }
    }

    #[test]
    fn no_instant_is_outside_of_every_window(micros: i64) {
        for period in [Period::Minute, Period::Day, Period::Month, Period::Always] {
            let at = Timestamp::from_micros(micros);
            let window = period.window(at);
            prop_assert!(window.starts <= at && at <= window.ends);
        }
    }
}
