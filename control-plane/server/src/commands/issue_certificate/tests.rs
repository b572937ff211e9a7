use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: CertificateArguments,
}

fn period(more: &[&str]) -> Result<Period, String> {
    let line = ["line", "--role", "operator", "--name", "alice", "--out", "here"];
    let line = Line::try_parse_from(line.iter().chain(more)).map_err(|error| error.to_string())?;
    Ok(line.arguments.period(at("2026-06-01T12:00:00Z")))
}

fn at(text: &str) -> Timestamp {
    instant(text).expect("a time")
}

fn between(from: &str, until: &str) -> Result<Period, String> {
    Ok(Period::Between(Validity { from: at(from), until: at(until) }))
}

#[test]
fn a_certificate_is_asked_for_by_its_length_or_by_its_ends() {
    let (begins, ends) = ("2026-05-01T10:00:00Z", "2026-06-01T13:00:00+00:30");
    assert_eq!(period(&[]), Ok(Period::Lasting(Duration::from_secs(24 * 3600))));
    assert_eq!(period(&["--minutes", "5"]), Ok(Period::Lasting(Duration::from_secs(300))));
    assert_eq!(period(&["--not-after", ends]), Ok(Period::Lasting(Duration::from_secs(1800))));
    assert_eq!(period(&["--not-before", begins, "--not-after", ends]), between(begins, ends));
    let an_hour = period(&["--not-before", begins, "--minutes", "60"]);
    assert_eq!(an_hour, between(begins, "2026-05-01T11:00:00Z"));
    // An end that is over has nothing before it: refused where every period is judged.
    assert_eq!(period(&["--not-after", begins]), Ok(Period::Lasting(Duration::ZERO)));
}

#[test]
fn two_ends_and_what_is_no_time_are_refused() {
    let both = period(&["--minutes", "5", "--not-after", "2026-05-01T10:00:00Z"]);
    assert!(both.is_err_and(|error| error.contains("cannot be used with")));
    for wrong in ["tomorrow", "2026-05-01", "2026-05-01T10:00:00", "1780308000", ""] {
        let refused = period(&["--not-before", wrong]);
        assert!(refused.is_err_and(|error| error.contains("2026-01-31T12:00:00Z")), "{wrong}");
    }
}
