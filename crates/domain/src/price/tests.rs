use proptest::prelude::*;

use super::*;

fn per(nanos: i64) -> PerMillion {
    PerMillion::from_nanos(nanos).expect("in bounds")
}

fn price(input: i64, output: i64, cached: Option<i64>) -> Price {
    Price { cached_input: cached.map(per), ..Price::of_tokens(per(input), per(output)) }
}

fn cost(price: &Price, tokens: TokenCounts) -> Option<i64> {
    price.cost(&tokens, &MediaCounts::default()).map(NanoUsd::as_nanos)
}

#[test]
fn a_call_costs_its_parts_rounded_once() {
    // $2.50 in, $10 out, $1.25 cached, per million.
    let price = price(2_500_000_000, 10_000_000_000, Some(1_250_000_000));
    let tokens = TokenCounts {
        prompt: 1000,
        completion: 500,
        cached_prompt: 400,
        reasoning: 100,
        ..TokenCounts::default()
    };
    assert_eq!(cost(&price, tokens), Some(600 * 2500 + 400 * 1250 + 500 * 10_000));
}

#[test]
fn what_is_written_into_a_cache_costs_more_and_what_stays_there_for_an_hour_more_again() {
    // $3 in, $0.30 cached, $3.75 written: Anthropic's proportions.
    let price = Price { cache_write: Some(per(3_750_000_000)), ..price(3_000_000_000, 0, Some(300_000_000)) };
    let tokens = TokenCounts {
        prompt: 1000,
        cached_prompt: 200,
        cache_write: 500,
        cache_write_hour: 100,
        ..TokenCounts::default()
    };
    assert_eq!(cost(&price, tokens), Some(300 * 3000 + 200 * 300 + 400 * 3750 + 100 * 6000));
    // Without a price of its own it costs what other prompt tokens cost.
    let unstated = Price { cache_write: None, ..price };
    assert_eq!(cost(&unstated, tokens), Some(800 * 3000 + 200 * 300));
}

#[test]
fn images_and_audio_cost_what_a_piece_and_a_minute_cost() {
    // $0.04 an image, $0.006 a minute.
    let price =
        Price { image: Some(per(40_000_000)), audio_minute: Some(per(6_000_000)), ..price(1, 1, None) };
    let media = MediaCounts { images: 3, audio_millis: 90_500 };
    let cost = price.cost(&TokenCounts::default(), &media).map(NanoUsd::as_nanos);
    assert_eq!(cost, Some(3 * 40_000_000 + 9_050_000));
}

#[test]
fn what_has_no_price_is_unpriced_and_never_free() {
    let text = price(1_000_000, 1_000_000, None);
    let image = MediaCounts { images: 1, audio_millis: 0 };
    let audio = MediaCounts { images: 0, audio_millis: 1 };
    for media in [image, audio] {
        assert_eq!(text.cost(&TokenCounts::default(), &media), None, "nothing stands for it");
        let told = TokenCounts { prompt: 10, completion: 20, ..TokenCounts::default() };
        assert_eq!(text.cost(&told, &media), Some(NanoUsd::from_nanos(30)), "its tokens stand for it");
    }
}

#[test]
fn half_a_nano_rounds_up_once_not_per_part() {
    let price = price(400_000, 400_000, None);
    let tokens = TokenCounts { prompt: 1, completion: 1, ..TokenCounts::default() };
    assert_eq!(cost(&price, tokens), Some(1));
}

fn any_tokens() -> impl Strategy<Value = TokenCounts> {
    any::<[u64; 6]>().prop_map(
        |[prompt, completion, cached_prompt, cache_write, cache_write_hour, reasoning]| TokenCounts {
            prompt,
            completion,
            cached_prompt,
            cache_write,
            cache_write_hour,
            reasoning,
        },
    )
}

proptest! {
    #[test]
    fn cost_never_panics_never_is_negative_and_grows_with_tokens(
        input in 0..=MAX_NANOS, output in 0..=MAX_NANOS, more in any_tokens(), less: u64, images: u64, audio_millis: u64,
    ) {
        let price = Price {
            image: Some(per(MAX_NANOS)),
            audio_minute: Some(per(MAX_NANOS)),
            ..price(input, output, None)
        };
        let media = MediaCounts { images, audio_millis };
        let fewer = TokenCounts { prompt: more.prompt.min(less), ..more };
        let (fewer, more) = (price.cost(&fewer, &media), price.cost(&more, &media));
        prop_assert!(fewer <= more);
        prop_assert!(fewer >= Some(NanoUsd::default()));
    }
}
