use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Asked {
    #[command(flatten)]
    amount: Amount,
}

fn asked(arguments: &[&str]) -> Option<(&'static str, u64)> {
    let arguments = std::iter::once("bailiwick").chain(arguments.iter().copied());
    Asked::try_parse_from(arguments).ok()?.amount.of().ok()
}

#[test]
fn people_say_calls_tokens_and_dollars() {
    assert_eq!(asked(&["--requests-per-minute", "600"]), Some(("requests_per_minute", 600)));
    assert_eq!(asked(&["--tokens-per-minute", "90000"]), Some(("tokens_per_minute", 90_000)));
    assert_eq!(asked(&["--parallel", "0"]), Some(("parallel_requests", 0)));
    assert_eq!(asked(&["--usd-per-day", "25.50"]), Some(("nano_usd_per_day", 25_500_000_000)));
    assert_eq!(asked(&["--usd-per-month", "$1000"]), Some(("nano_usd_per_month", 1_000_000_000_000)));
    assert_eq!(asked(&["--usd-total", "0.000000001"]), Some(("nano_usd_total", 1)));
}

#[test]
fn one_amount_is_said_and_it_is_not_negative() {
    assert_eq!(asked(&[]), None);
    assert_eq!(asked(&["--parallel", "1", "--usd-total", "2"]), None);
    assert_eq!(asked(&["--usd-per-day=-1"]), None);
    assert_eq!(asked(&["--requests-per-minute=-1"]), None);
}

#[test]
fn a_limit_is_printed_in_the_units_in_which_it_is_given() {
    let limit = Limit {
        organization_id: "org_x".into(),
        number: 3,
        measure: "nano_usd_per_day".into(),
        amount: 25_500_000_000,
        keys: Some(keys("each".into())),
        models: None,
        deployments: Some(deployments("dep_x".into())),
        created_at_micros: 0,
    };
    let printed = serde_json::to_value(record(&limit)).expect("a record");
    let expected = serde_json::json!({
        "number": 3, "measure": "usd_per_day", "amount": "25.500000000", "keys": "each", "models": "all", "deployments": "dep_x", "created": null,
    });
    assert_eq!(printed, expected);
}

#[test]
fn a_limit_stands_as_its_most_used_sum_does_and_unknown_is_not_nothing() {
    let limit = Limit { number: 3, measure: "requests_per_minute".into(), ..Limit::default() };
    let sum = |number, used| LimitUsage { number, used, lent: 2, in_doubt: 1, ..LimitUsage::default() };
    let stands = [sum(2, 90), sum(3, 50), sum(3, 7)];
    let told = |stands: Option<&[LimitUsage]>| {
        let record = with_standing(Record::default(), &limit, stands);
        serde_json::to_value(record).expect("a record")
    };
    let expected = serde_json::json!({ "used": 50, "lent": 2, "in_doubt": 1, "sums": 2 });
    assert_eq!(told(Some(&stands)), expected);
    assert_eq!(told(Some(&[])), serde_json::json!({ "used": 0, "lent": 0, "in_doubt": 0, "sums": 0 }));
    let unknown = serde_json::json!({ "used": null, "lent": null, "in_doubt": null, "sums": null });
    assert_eq!(told(None), unknown);
}
