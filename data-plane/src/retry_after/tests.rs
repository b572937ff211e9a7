use http::{HeaderMap, HeaderValue};

use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_792_567_680_000_000);
const IN_A_MINUTE: &str = "Wed, 21 Oct 2026 07:29:00 GMT";

fn with(fields: &[(HeaderName, &'static str)]) -> HeaderSection {
    let field = |(name, value): &(HeaderName, &'static str)| (name.clone(), HeaderValue::from_static(value));
    HeaderSection::from(&fields.iter().map(field).collect::<HeaderMap>())
}

fn after(value: &'static str) -> Option<Duration> {
    retry_after(&with(&[(header::RETRY_AFTER, value)]), NOW)
}

#[test]
fn what_is_said_of_when_to_come_back_is_read_or_taken_for_nothing() {
    assert_eq!(after("2"), Some(Duration::from_secs(2)));
    assert_eq!(after(" 0.5 "), Some(Duration::from_millis(500)));
    assert_eq!(after("99999999"), Some(LONGEST));
    let fine = with(&[(RETRY_AFTER_MS, "1500"), (header::RETRY_AFTER, "9")]);
    assert_eq!(retry_after(&fine, NOW), Some(Duration::from_millis(1500)));
    for nothing in ["", "-1", "NaN", "inf", "1e30", "soon", "Wed, 32 Oct 2026 07:29:00 GMT"] {
        assert_eq!(after(nothing), None, "{nothing}");
    }
}

#[test]
fn a_date_is_waited_for_in_each_of_its_forms_and_not_for_ever() {
    for date in [IN_A_MINUTE, "Wednesday, 21-Oct-26 07:29:00 GMT", "Wed Oct 21 07:29:00 2026"] {
        assert_eq!(after(date), Some(Duration::from_secs(60)), "{date}");
    }
    assert_eq!(after("Wed, 21 Oct 2026 07:27:59 GMT"), Some(Duration::ZERO), "it is over");
    assert_eq!(after("Fri, 31 Dec 9999 23:59:59 GMT"), Some(LONGEST));
}

#[test]
fn a_date_is_by_the_clock_of_whoever_says_it() {
    let fields = [(header::RETRY_AFTER, IN_A_MINUTE), (header::DATE, "Wed, 21 Oct 2026 07:28:50 GMT")];
    assert_eq!(retry_after(&with(&fields), NOW), Some(Duration::from_secs(10)));
    let fields = [(header::RETRY_AFTER, IN_A_MINUTE), (header::DATE, "garbage")];
    assert_eq!(retry_after(&with(&fields), NOW), Some(Duration::from_secs(60)));
}
