use http::StatusCode;

use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_790_000_040_500_000);

fn standing(amount: u64, remaining: u64, millis: u64) -> Standing {
    Standing { amount, remaining, resets_in: Some(Duration::from_millis(millis)) }
}

fn told(shape: ErrorShape) -> Told {
    let (requests, tokens) = (Some(standing(60, 59, 17_001)), Some(standing(40_000, 3, 61_000)));
    Told { requests, tokens, shape, now: NOW }
}

#[test]
fn spans_are_told_as_openai_does_and_never_too_short() {
    for (micros, text) in [
        (0, "0ms"),
        (1, "1ms"),
        (999_000, "999ms"),
        (999_001, "1s"),
        (1_000_001, "2s"),
        (59_000_000, "59s"),
        (59_000_001, "1m0s"),
        (360_000_000, "6m0s"),
        (86_400_000_000, "1440m0s"),
    ] {
        assert_eq!(span(Duration::from_micros(micros)), text, "{micros}");
    }
}

#[test]
fn answers_and_errors_carry_the_tightest_limits_in_their_callers_form() {
    let mut fields = Fields::default();
    told(ErrorShape::OpenAi).in_answer(Ok(()), &mut fields).unwrap();
    let fields = std::str::from_utf8(fields.lines()).unwrap();
    for (name, value) in [
        ("x-ratelimit-limit-requests", "60"),
        ("x-ratelimit-remaining-requests", "59"),
        ("x-ratelimit-reset-requests", "18s"),
        ("x-ratelimit-limit-tokens", "40000"),
        ("x-ratelimit-remaining-tokens", "3"),
        ("x-ratelimit-reset-tokens", "1m1s"),
    ] {
        assert!(fields.contains(&format!("{name}: {value}\r\n")), "{name}: {fields}");
    }
    let error = ApiError::new(StatusCode::BAD_GATEWAY, "provider_unreachable", "");
    let error = told(ErrorShape::Anthropic).in_answer::<()>(Err(error), &mut Fields::default()).unwrap_err();
    for (name, value) in [
        ("anthropic-ratelimit-requests-limit", "60"),
        ("anthropic-ratelimit-requests-remaining", "59"),
        ("anthropic-ratelimit-requests-reset", "2026-09-21T14:14:18Z"),
        ("anthropic-ratelimit-tokens-limit", "40000"),
        ("anthropic-ratelimit-tokens-remaining", "3"),
        ("anthropic-ratelimit-tokens-reset", "2026-09-21T14:15:02Z"),
    ] {
        assert!(
            error.headers.iter().any(|(of, is)| of == name && is == value),
            "{name}: {:?}",
            error.headers
        );
    }
}

#[test]
fn of_what_is_not_limited_nothing_is_told() {
    let told = Told { requests: None, tokens: None, ..told(ErrorShape::OpenAi) };
    assert_eq!(told.headers().count(), 0);
}
