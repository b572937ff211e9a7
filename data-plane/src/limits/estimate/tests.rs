use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::request;

fn asked(body: &str) -> Asked {
    request::scan(&Bytes::from(body.to_owned())).unwrap()
}

fn price(input: i64, output: i64, cache_write: Option<i64>) -> Price {
    let of = |nanos| PerMillion::from_nanos(nanos).unwrap();
    Price { cache_write: cache_write.map(of), ..Price::of_tokens(of(input), of(output)) }
}

fn estimate(call_type: CallType, body: &str, prices: &[Price]) -> Estimate {
    Estimate::from(call_type, &asked(body), body.len(), dearest(prices.iter().copied()))
}

const LARGE: u64 = 1_000_000_000_000;

#[test]
fn a_prompt_counts_as_a_token_for_each_byte_and_an_answer_as_the_caller_allows() {
    let tokens = |call_type, body: &str| {
        estimate(call_type, body, &[]).units(Measure::TokensPerMinute, LARGE) - body.len() as u64
    };
    for (call_type, body, answer) in [
        (CallType::ChatCompletion, r#"{"model":"m","max_tokens":7}"#, 7),
        (CallType::ChatCompletion, r#"{"model":"m","max_completion_tokens":9,"max_tokens":7}"#, 9),
        (CallType::ChatCompletion, r#"{"model":"m","max_tokens":7,"n":3}"#, 21),
        // One that the endpoint does not have says nothing.
        (CallType::ChatCompletion, r#"{"model":"m","max_output_tokens":7}"#, ANSWER_TOKENS),
        (CallType::Completion, r#"{"model":"m","max_tokens":7,"max_tokens":8}"#, 8),
        (CallType::Response, r#"{"model":"m","max_output_tokens":5}"#, 5),
        (CallType::Message, r#"{"model":"m","max_tokens":5}"#, 5),
        // What is no number is for the provider to refuse.
        (CallType::Message, r#"{"model":"m","max_tokens":"5"}"#, ANSWER_TOKENS),
        (CallType::Message, r#"{"model":"m","max_tokens":-5}"#, ANSWER_TOKENS),
        (CallType::ChatCompletion, r#"{"model":"m","n":2}"#, 2 * ANSWER_TOKENS),
        (CallType::ChatCompletion, r#"{"model":"m","n":18446744073709551615}"#, 128 * ANSWER_TOKENS),
        (CallType::Embedding, r#"{"model":"m","max_tokens":5}"#, 0),
        (CallType::Moderation, r#"{"model":"m"}"#, 0),
    ] {
        assert_eq!(tokens(call_type, body), answer, "{call_type:?} {body}");
    }
    let count = estimate(CallType::TokenCount, r#"{"model":"m","max_tokens":5}"#, &[]);
    assert_eq!(count.units(Measure::TokensPerMinute, LARGE), 0);
    assert_eq!(count.units(Measure::RequestsPerMinute, LARGE), 1);
    assert_eq!(count.units(Measure::ParallelRequests, LARGE), 1);
}

#[test]
fn a_call_whose_cost_nobody_can_tell_before_takes_part_in_limits_of_money_all_the_same() {
    let by_the_minute = Price { audio_minute: Some(price(6_000_000, 0, None).input), ..price(0, 0, None) };
    let nanos = |call_type, price| {
        estimate(call_type, r#"{"model":"m"}"#, &[price]).units(Measure::NanoUsdTotal, LARGE)
    };
    assert_eq!(nanos(CallType::Transcription, by_the_minute), 1);
    assert_eq!(nanos(CallType::Transcription, price(0, 0, None)), 0, "what is free is free");
    let cheap = estimate(CallType::Transcription, r#"{"model":"m"}"#, &[price(0, 0, None)]);
    assert!(!cheap.covers(Some(by_the_minute)), "another place is dearer by the minute");
}

#[test]
fn money_counts_at_the_dearest_of_the_prices_and_nothing_where_none_is_known() {
    let body = r#"{"model":"m","max_tokens":1000}"#;
    let nanos = |prices: &[Price]| {
        estimate(CallType::ChatCompletion, body, prices).units(Measure::NanoUsdTotal, LARGE)
    };
    let bytes = body.len() as u64;
    // In nano-dollars a token.
    let (cheap, dear) = (price(1_000_000, 9_000_000, None), price(2_000_000, 3_000_000, None));
    assert_eq!(nanos(&[cheap]), bytes + 9000);
    assert_eq!(nanos(&[cheap, dear]), 2 * bytes + 9000);
    // What is written into a cache for an hour costs 8/5 of what is written for minutes.
    assert_eq!(nanos(&[price(1_000_000, 9_000_000, Some(5_000_000))]), 8 * bytes + 9000);
    assert_eq!(nanos(&[]), 0);
}

#[test]
fn images_count_at_what_each_costs() {
    let image = PerMillion::from_nanos(40_000_000).unwrap();
    let price = Price { image: Some(image), ..price(0, 0, None) };
    let estimate = estimate(CallType::Image, r#"{"model":"m","n":3}"#, &[price]);
    assert_eq!(estimate.units(Measure::NanoUsdTotal, LARGE), 3 * 40_000_000);
}

#[test]
fn what_is_guessed_takes_a_tenth_of_a_limit_at_most_and_what_is_asked_for_counts_whole() {
    let body = r#"{"model":"m"}"#;
    let open = estimate(CallType::ChatCompletion, body, &[]);
    assert_eq!(open.units(Measure::TokensPerMinute, 1000), 100);
    assert_eq!(open.units(Measure::TokensPerMinute, 3), 1);
    let bounded = r#"{"model":"m","max_tokens":500,"more":"0123456789012345678901234567890123456789"}"#;
    let bounded = estimate(CallType::ChatCompletion, bounded, &[]);
    assert_eq!(bounded.units(Measure::TokensPerMinute, 510), 510, "no more than there can be");
    assert_eq!(bounded.units(Measure::TokensPerMinute, 500), 500);
    assert_eq!(bounded.units(Measure::TokensPerMinute, 499), 500, "larger than the limit");
}

proptest! {
    #[test]
    fn a_limit_of_nothing_admits_nothing_and_others_are_refused_for_what_was_asked_alone(
        amount in 0..LARGE, max_tokens in prop::option::of(0_u64..2 * LARGE), filling in 0_usize..5000, n in prop::option::of(0_u64..200),
    ) {
        let body = serde_json::json!({"model": "m", "max_tokens": max_tokens, "n": n, "x": "x".repeat(filling)}).to_string();
        let estimate = estimate(CallType::ChatCompletion, &body, &[price(1_000_000, 1_000_000, None)]);
        for measure in [Measure::TokensPerMinute, Measure::NanoUsdPerDay, Measure::RequestsPerMinute] {
            let units = estimate.units(measure, amount);
            let asked = match measure {
                Measure::RequestsPerMinute => 1,
                _ => max_tokens.map_or(0, |tokens| tokens * n.unwrap_or(1).clamp(1, 128)),
            };
            prop_assert_eq!(units > amount, asked > amount || amount == 0);
            prop_assert!(units >= asked.min(amount));
        }
    }
}
