//! What a call costs.

use serde::{Deserialize, Serialize};

use crate::money::NanoUsd;

const TOKENS_PER_UNIT: i128 = 1_000_000;
/// A million dollars.
const MAX_NANOS: i64 = 1_000_000_000_000_000;

/// A price in nano-dollars per million tokens: 0 to 10¹⁵ (a million dollars).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct PerMillion(i64);

impl PerMillion {
    /// Errors: [`PriceError`] outside the bounds.
    pub fn from_nanos(nanos: i64) -> Result<Self, PriceError> {
        if (0..=MAX_NANOS).contains(&nanos) { Ok(Self(nanos)) } else { Err(PriceError) }
    }

    /// From dollars per million tokens.
    pub fn from_usd(usd: NanoUsd) -> Result<Self, PriceError> {
        Self::from_nanos(usd.as_nanos())
    }

    /// In nano-dollars.
    pub fn as_nanos(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for PerMillion {
    type Error = PriceError;

    fn try_from(nanos: i64) -> Result<Self, PriceError> {
        Self::from_nanos(nanos)
    }
}

impl From<PerMillion> for i64 {
    fn from(price: PerMillion) -> Self {
        price.0
    }
}

/// A price outside its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a price is 0 to 1,000,000 dollars per million tokens")]
pub struct PriceError;

/// What a model's tokens cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Prompt tokens.
    pub input: PerMillion,
    /// Completion tokens, reasoning included.
    pub output: PerMillion,
    /// Prompt tokens that the provider had cached; `None`: as other prompt tokens.
    pub cached_input: Option<PerMillion>,
    /// Prompt tokens that the provider wrote into its cache; `None`: as other prompt tokens.
    pub cache_write: Option<PerMillion>,
}

/// How many tokens a call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TokenCounts {
    /// Prompt tokens, cached ones included.
    pub prompt: u64,
    /// Completion tokens, reasoning included.
    pub completion: u64,
    /// Part of the prompt tokens.
    pub cached_prompt: u64,
    /// Part of the completion tokens.
    pub reasoning: u64,
}

impl Price {
    /// The cost of a call: rounded half up once, over the sum; the largest amount when it does not fit.
    pub fn cost(&self, tokens: &TokenCounts) -> NanoUsd {
        let cached = tokens.cached_prompt.min(tokens.prompt);
        let fresh = tokens.prompt - cached;
        let cached_price = self.cached_input.unwrap_or(self.input);
        let part = |count: u64, price: PerMillion| i128::from(count).saturating_mul(i128::from(price.0));
        let sum = part(fresh, self.input) + part(cached, cached_price) + part(tokens.completion, self.output);
        let rounded = (sum + TOKENS_PER_UNIT / 2) / TOKENS_PER_UNIT;
        NanoUsd::from_nanos(i64::try_from(rounded).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn price(input: i64, output: i64, cached: Option<i64>) -> Price {
        let of = |nanos| PerMillion::from_nanos(nanos).expect("in bounds");
        Price { input: of(input), output: of(output), cached_input: cached.map(of), cache_write: None }
    }

    #[test]
    fn a_call_costs_its_parts_rounded_once() {
        // $2.50 in, $10 out, $1.25 cached, per million.
        let price = price(2_500_000_000, 10_000_000_000, Some(1_250_000_000));
        let tokens = TokenCounts { prompt: 1000, completion: 500, cached_prompt: 400, reasoning: 100 };
        assert_eq!(price.cost(&tokens), NanoUsd::from_nanos(600 * 2500 + 400 * 1250 + 500 * 10_000));
    }

    #[test]
    fn half_a_nano_rounds_up_once_not_per_part() {
        let price = price(400_000, 400_000, None);
        let tokens = TokenCounts { prompt: 1, completion: 1, ..TokenCounts::default() };
        assert_eq!(price.cost(&tokens), NanoUsd::from_nanos(1));
    }

    proptest! {
        #[test]
        fn cost_never_panics_never_is_negative_and_grows_with_tokens(
            input in 0..=MAX_NANOS, output in 0..=MAX_NANOS, prompt: u64, completion: u64, cached: u64, less: u64,
        ) {
            let price = price(input, output, None);
            let more = TokenCounts { prompt, completion, cached_prompt: cached, reasoning: 0 };
            let fewer = TokenCounts { prompt: prompt.min(less), ..more };
            prop_assert!(price.cost(&fewer) <= price.cost(&more));
            prop_assert!(price.cost(&fewer) >= NanoUsd::default());
        }
    }
}
