//! How much a call could use, before it is made.
//!
//! **The prompt** counts as a token for each byte of the request's body. Tokenizers in use fall back to bytes, so no text has more; most have a quarter. What a
//! body only points to (images by address, what a provider keeps of earlier calls) has more tokens than its bytes say.
//!
//! **The answer** counts as long as the caller allows: `max_completion_tokens`, `max_tokens` or `max_output_tokens`, times `n`. A caller who says nothing is taken
//! for one who wants [`ANSWER_TOKENS`].
//!
//! So for text, with a bound, the estimate is never too small, and limits of tokens and money are exact. What a call uses beyond it is charged when the call ends, and
//! owed by the limit's present window.
//!
//! **No call is refused for what was only guessed.** The bytes and the default are guesses of ours, nearly always too large, and a caller can do nothing about them. So
//! they take at most one part in [`GUESSED_PART`] of any limit: whoever has that much left is admitted, however small the limit is. What the caller has asked for counts
//! whole, and what is larger than the limit is refused: no time will help it, and a smaller `max_tokens` will.

use bailiwick_domain::{
    price::{MediaCounts, PerMillion, Price, TokenCounts},
    usage::CallType,
};
use bailiwick_quota::limit::Measure;

use crate::{placement::Placed, request::Asked};

/// Length of an answer whose caller names no bound, in tokens.
const ANSWER_TOKENS: u64 = 4096;
/// Guesses take at most one part in so many of a limit.
const GUESSED_PART: u64 = 10;

/// What a call could use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Estimate {
    /// Tokens of the answer that the caller allows.
    asked: u64,
    /// Tokens of the prompt, and of an answer of which the caller says nothing.
    guessed: TokenCounts,
    /// Images that are asked for.
    images: u64,
    /// The dearest that the call could be served at; `None`: nobody knows a price. Then a limit of money refuses it: what it costs would be unknown before and after.
    price: Option<Price>,
    /// Whether it costs nothing at any price.
    is_free: bool,
}

impl Estimate {
    pub(crate) fn of(call_type: CallType, asked: &Asked, body_bytes: usize, placed: &Placed<'_>) -> Self {
        let price = dearest(placed.places().filter_map(|place| place.deployment().price));
        Self::from(call_type, asked, body_bytes, price)
    }

    pub(super) fn from(call_type: CallType, asked: &Asked, body_bytes: usize, price: Option<Price>) -> Self {
        let prompt = match call_type {
            // It is asked for the count alone, which costs nothing.
            CallType::TokenCount => 0,
            _ => u64::try_from(body_bytes).unwrap_or(u64::MAX),
        };
        let (allowed, guessed) = match (call_type, asked.answer_bound(call_type)) {
            (CallType::TokenCount | CallType::Embedding | CallType::Moderation, _) => (0, 0),
            (_, Some(bound)) => (bound, 0),
            (_, None) => (0, ANSWER_TOKENS.saturating_mul(asked.choices())),
        };
        let guessed = TokenCounts { prompt, completion: guessed, ..TokenCounts::default() };
        let images = if call_type == CallType::Image { asked.choices() } else { 0 };
        Self { asked: allowed, guessed, images, price, is_free: call_type == CallType::TokenCount }
    }

    /// The same call at one place.
    pub(crate) fn at(&self, price: Option<Price>) -> Self {
        Self { price: dearest(price.into_iter()), ..*self }
    }

    /// Whether it is known what the call could cost.
    pub(crate) fn is_priced(&self) -> bool {
        self.is_free || self.price.is_some()
    }

    /// Whether what was taken by this estimate is enough for a call at a place with this price.
    pub(crate) fn covers(&self, price: Option<Price>) -> bool {
        let other = self.at(price);
        self.is_free
            || self.price.zip(other.price).is_some_and(|(own, other)| {
                let tokens = own.input >= other.input && own.output >= other.output;
                tokens && own.image >= other.image && own.audio_minute >= other.audio_minute
            })
    }

    /// Units to take of a limit of this measure and amount. 0: the limit does not matter to the call.
    pub(super) fn units(&self, measure: Measure, amount: u64) -> u64 {
        let (asked, guessed) = match measure {
            Measure::RequestsPerMinute | Measure::ParallelRequests => (1, 0),
            Measure::TokensPerMinute => {
                (self.asked, self.guessed.prompt.saturating_add(self.guessed.completion))
            }
            Measure::NanoUsdPerDay | Measure::NanoUsdPerMonth | Measure::NanoUsdTotal => {
                let (asked, guessed) = self.money();
                (asked, guessed.max(u64::from(asked == 0 && self.can_cost())))
            }
        };
        if amount == 0 {
            // It admits nothing, not even what is free.
            return 1;
        }
        if asked > amount {
            return asked;
        }
        asked.saturating_add(guessed.min(amount.div_ceil(GUESSED_PART))).min(amount)
    }

    /// Whether the call can cost anything, though nothing of it can be told before: how long a recording is, say. Then it takes part in a limit of money with the least that there is, and is charged
    /// what it proves to cost.
    fn can_cost(&self) -> bool {
        let costs = |price: Price| {
            let parts = [Some(price.input), Some(price.output), price.image, price.audio_minute];
            parts.into_iter().flatten().any(|part| part != PerMillion::default())
        };
        !self.is_free && self.price.is_some_and(costs)
    }

    /// Nano-dollars of what was asked for, and of what was guessed.
    fn money(&self) -> (u64, u64) {
        let Some(price) = self.price else { return (0, 0) };
        let media = MediaCounts { images: self.images, audio_millis: 0 };
        let cost = |tokens: &TokenCounts| {
            let cost = price.cost(tokens, &media).unwrap_or_default();
            u64::try_from(cost.as_nanos()).unwrap_or_default()
        };
        let asked = cost(&TokenCounts { completion: self.asked, ..TokenCounts::default() });
        let completion = self.guessed.completion.saturating_add(self.asked);
        // Rounded once, as the call's own cost will be.
        let all = cost(&TokenCounts { completion, ..self.guessed });
        (asked, all.saturating_sub(asked))
    }
}

/// A price that is at least each of these.
fn dearest(prices: impl Iterator<Item = Price>) -> Option<Price> {
    prices
        .map(|price| {
            let input = most([Some(price.input), price.cached_input, price.cache_write_hour()]);
            let (image, audio_minute) = (price.image, price.audio_minute);
            Price { image, audio_minute, ..Price::of_tokens(input, price.output) }
        })
        .reduce(|one, other| Price {
            input: one.input.max(other.input),
            output: one.output.max(other.output),
            image: one.image.max(other.image),
            audio_minute: one.audio_minute.max(other.audio_minute),
            ..one
        })
}

fn most(prices: [Option<PerMillion>; 3]) -> PerMillion {
    prices.into_iter().flatten().max().unwrap_or_default()
}

#[cfg(test)]
mod tests;
