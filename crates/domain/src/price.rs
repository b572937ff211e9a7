//! What a call costs.

use serde::{Deserialize, Serialize};

use crate::money::NanoUsd;

/// Parts of a nano-dollar that sums are made in: what prices are for divides it.
const UNIT: i128 = 3_000_000;
const TOKENS_PER_UNIT: i128 = 1_000_000;
const MILLIS_PER_MINUTE: i128 = 60_000;
/// What is kept for an hour costs 8/5 of what is kept for five minutes: twice the price of other prompt tokens rather than 5/4 of it
/// (<https://docs.claude.com/en/docs/build-with-claude/prompt-caching#pricing>).
const HOUR_FACTOR: i128 = 8;
const HOUR_DIVISOR: i128 = 5;
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

/// A price for one piece of something that is no token, in nano-dollars: 0 to 10¹⁵.
pub type PerPiece = PerMillion;

/// A price outside its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a price is 0 to 1,000,000 dollars per million tokens, per image or per minute")]
pub struct PriceError;

/// What a model's calls cost: the sum of its parts. Where nothing says what an image or a minute costs, a call that tells tokens is priced by them alone, and one that
/// tells none has no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Prompt tokens.
    pub input: PerMillion,
    /// Completion tokens, reasoning included.
    pub output: PerMillion,
    /// Prompt tokens that the provider had cached; `None`: as other prompt tokens.
    pub cached_input: Option<PerMillion>,
    /// Prompt tokens that the provider wrote into its cache, for some minutes; `None`: as other prompt tokens.
    pub cache_write: Option<PerMillion>,
    /// A generated image.
    pub image: Option<PerPiece>,
    /// A minute of audio.
    pub audio_minute: Option<PerPiece>,
}

/// How many tokens a call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TokenCounts {
    /// Prompt tokens, those that were read from a cache or written into one included.
    pub prompt: u64,
    /// Completion tokens, reasoning included.
    pub completion: u64,
    /// Part of the prompt tokens: read from the provider's cache.
    pub cached_prompt: u64,
    /// Part of the prompt tokens: written into the provider's cache.
    pub cache_write: u64,
    /// Part of those that were written: kept for an hour rather than minutes.
    pub cache_write_hour: u64,
    /// Part of the completion tokens.
    pub reasoning: u64,
}

impl TokenCounts {
    /// Whether anything was counted.
    pub fn is_none(&self) -> bool {
        self.prompt == 0 && self.completion == 0
    }
}

/// What a call made or took that is counted in other units than tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MediaCounts {
    /// Generated images.
    pub images: u64,
    /// Audio, in milliseconds.
    pub audio_millis: u64,
}

impl Price {
    /// What tokens cost, and nothing else has a price.
    pub const fn of_tokens(input: PerMillion, output: PerMillion) -> Self {
        Self { input, output, cached_input: None, cache_write: None, image: None, audio_minute: None }
    }

    /// The cost of a call: rounded half up once, over the sum; the largest amount when it does not fit. `None`: the call used what nothing here has a price for.
    pub fn cost(&self, tokens: &TokenCounts, media: &MediaCounts) -> Option<NanoUsd> {
        let stand_in = !tokens.is_none();
        let images = priced(media.images, 1, self.image, stand_in)?;
        let audio = priced(media.audio_millis, MILLIS_PER_MINUTE, self.audio_minute, stand_in)?;
        let sum = self.of_all_tokens(tokens).saturating_add(images).saturating_add(audio);
        let rounded = sum.saturating_add(UNIT / 2) / UNIT;
        Some(NanoUsd::from_nanos(i64::try_from(rounded).unwrap_or(i64::MAX)))
    }

    /// What tokens cost that are written into a cache for an hour, rounded up; `None`: as other prompt tokens.
    pub fn cache_write_hour(&self) -> Option<PerMillion> {
        let nanos = (i128::from(self.cache_write?.0) * HOUR_FACTOR + HOUR_DIVISOR - 1) / HOUR_DIVISOR;
        Some(PerMillion(i64::try_from(nanos).unwrap_or(MAX_NANOS)))
    }

    fn of_all_tokens(&self, tokens: &TokenCounts) -> i128 {
        let cached = tokens.cached_prompt.min(tokens.prompt);
        let written = tokens.cache_write.min(tokens.prompt - cached);
        let hour = tokens.cache_write_hour.min(written);
        let hour_price = match self.cache_write {
            Some(write) => part(hour, TOKENS_PER_UNIT, write).saturating_mul(HOUR_FACTOR) / HOUR_DIVISOR,
            None => part(hour, TOKENS_PER_UNIT, self.input),
        };
        [
            (tokens.prompt - cached - written, self.input),
            (cached, self.cached_input.unwrap_or(self.input)),
            (written - hour, self.cache_write.unwrap_or(self.input)),
            (tokens.completion, self.output),
        ]
        .into_iter()
        .map(|(count, price)| part(count, TOKENS_PER_UNIT, price))
        .fold(hour_price, i128::saturating_add)
    }
}

/// In parts of a nano-dollar; `price` is for so many.
fn part(count: u64, per: i128, price: PerMillion) -> i128 {
    i128::from(count).saturating_mul(i128::from(price.0)).saturating_mul(UNIT / per)
}

/// The same of what may have no price. `None`: it has none, and no tokens stand for it.
fn priced(count: u64, per: i128, price: Option<PerPiece>, stand_in: bool) -> Option<i128> {
    match price {
        Some(price) => Some(part(count, per, price)),
        None if count == 0 || stand_in => Some(0),
        None => None,
    }
}

#[cfg(test)]
mod tests;
