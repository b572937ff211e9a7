use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_795_420_800_000_000);

#[test]
fn durations_are_read_as_people_write_them() {
    for (text, seconds) in
        [("90s", 90), ("24h", 86_400), ("7d", 604_800), ("1h 30m", 5400), ("1h30m", 5400), ("2w", 1_209_600)]
    {
        assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
    }
    assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
}

#[test]
fn what_has_no_fixed_length_or_runs_backwards_is_refused() {
    for text in ["", "24", "h", "1 month", "1y", "-5m", "5m ago", "soon", "9999999999999d"] {
        assert!(duration(text).is_err(), "{text}");
    }
}

#[test]
fn a_time_is_absolute_or_counted_from_now() {
    let day = When::parse("24h").expect("a duration");
    assert_eq!(day.before(NOW), NOW.saturating_sub(Duration::from_secs(86_400)));
    assert_eq!(day.after(NOW), NOW.saturating_add(Duration::from_secs(86_400)));
    let at = When::parse("2026-11-23T08:00:00+00:00").expect("RFC 3339");
    assert_eq!((at.before(NOW), at.after(NOW)), (NOW, NOW));
    assert!(When::parse("yesterday").is_err());
    assert!(When::parse("2026-11-23").is_err());
}

#[test]
fn programs_read_rfc_3339_with_microseconds_and_people_without() {
    let at = Moment(NOW.as_micros() + 250_000);
    assert_eq!(serde_json::to_string(&at).expect("serializes"), "\"2026-11-23T08:00:00.25Z\"");
    assert_eq!(at.to_string(), "2026-11-23T08:00:00Z");
    assert_eq!(serde_json::to_string(&Moment(0)).expect("serializes"), "null");
    assert_eq!(Moment(0).to_string(), "-");
}

#[test]
fn ages_show_their_two_largest_units() {
    let after = |seconds| NOW.saturating_add(Duration::from_secs(seconds));
    assert_eq!(relative(after(3570), NOW), "in 59m 30s");
    assert_eq!(relative(NOW, after(3 * 86_400 + 4 * 3600 + 59)), "3d 4h ago");
    assert_eq!(relative(NOW, NOW), "now");
    assert_eq!(short(Duration::from_secs(3600)), "1h");
    assert_eq!(short(Duration::from_millis(12)), "12ms");
}
