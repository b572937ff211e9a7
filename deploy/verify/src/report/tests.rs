use std::time::Duration;

use super::*;

fn region(name: &str, code: &str) -> RegionReport {
    let fingerprint = |of: &str| format!("sha-256 of the certificate of {of} of {name}");
    let process = |role: &str, address: &str| ProcessReport {
        name: format!("{role}-1"),
        role: role.to_owned(),
        build: "1.2.3".to_owned(),
        certificate_fingerprint: fingerprint(role),
        address: address.to_owned(),
    };
    RegionReport {
        name: name.to_owned(),
        code: code.to_owned(),
        installation: "local".to_owned(),
        epoch: "01JD0W6KQ4V6J5T6T9N2X8Y3ZB".to_owned(),
        revision: 7,
        control_plane_build: "1.2.3".to_owned(),
        ca_fingerprint: fingerprint("the root"),
        control_plane_fingerprint: fingerprint("the control plane"),
        public_fingerprint: None,
        operator_fingerprint: fingerprint("the operator"),
        operator: format!("spiffe://{name}.local/operator/local"),
        processes: vec![process("worker", "127.0.0.1:1"), process("router", "")],
    }
}

fn tried(attack: u8, pair: (&str, &str), verdict: Verdict, micros: u64) -> Tried {
    let attempt = Attempt {
        what: "a valid key of the other region, at the router".to_owned(),
        layer: "router: admission, from the head alone",
        expected: "421 wrong_region by the router itself".to_owned(),
        observed: "HTTP 421 wrong_region, no worker".to_owned(),
        verdict,
        took: Duration::from_micros(micros),
    };
    Tried { attack, from: pair.0.to_owned(), to: pair.1.to_owned(), attempt }
}

fn report(attempts: Vec<Tried>) -> Report {
    let regions = vec![region("eu-central-1", "euc1"), region("us-west-1", "usw1")];
    let attacks =
        vec![Listed { number: 1, name: "a foreign API key" }, Listed { number: 10, name: "spoofed Host" }];
    let times = (Timestamp::from_micros(1_000_000), Timestamp::from_micros(3_500_000));
    Report { build: "1.2.3", ..Report::new(times, regions, attacks, attempts) }
}

const ONE: (&str, &str) = ("eu-central-1", "us-west-1");
const OTHER: (&str, &str) = ("us-west-1", "eu-central-1");

#[test]
fn the_report_keeps_its_shape() {
    let attempts = vec![
        tried(10, OTHER, Verdict::NotAttempted, 0),
        tried(10, ONE, Verdict::Hole, 400),
        tried(1, OTHER, Verdict::Refused, 200),
        tried(1, ONE, Verdict::Refused, 300),
        tried(1, ONE, Verdict::Refused, 900),
    ];
    insta::assert_json_snapshot!(report(attempts));
}

#[test]
fn only_what_was_tried_and_refused_passes() {
    let refused = tried(1, ONE, Verdict::Refused, 1);
    assert!(report(vec![refused.clone(), tried(1, ONE, Verdict::NotAttempted, 0)]).passed);
    assert!(!report(Vec::new()).passed);
    assert!(!report(vec![tried(1, ONE, Verdict::NotAttempted, 0)]).passed);
    for verdict in [Verdict::Hole, Verdict::Unanswered] {
        assert!(!report(vec![refused.clone(), tried(1, ONE, verdict, 1)]).passed, "{verdict:?}");
    }
    assert!(!report(vec![refused]).interrupted(Some("stopped".to_owned())).passed);
}

#[test]
fn what_could_not_be_tried_hides_nothing_that_was() {
    let found = report(vec![
        tried(1, ONE, Verdict::NotAttempted, 0),
        tried(1, ONE, Verdict::Refused, 5),
        tried(1, OTHER, Verdict::NotAttempted, 0),
    ]);
    let cell = |pair| found.cell(1, pair).map(|cell| (cell.verdict, cell.tried, cell.not_tried));
    assert_eq!(cell(ONE), Some((Verdict::Refused, 1, 1)));
    assert_eq!(cell(OTHER), Some((Verdict::NotAttempted, 0, 1)));
}
