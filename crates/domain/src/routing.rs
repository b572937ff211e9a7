//! How a model's calls are spread over its deployments, and which models stand in for it.

use std::{fmt, str::FromStr};

use crate::{names::ModelName, text::serde_as_text};

/// How a call chooses among the deployments of one order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// By chance, in proportion to their weights.
    #[default]
    Weighted,
    /// The one with the fewest calls under way on the same core of the worker; among equals, by weight.
    LeastInFlight,
    /// The one that lately answered soonest, on the same core of the worker: by a moving average of the time to the first byte, in which old answers
    /// fade, so that a slow one is tried again. Among equals, by weight.
    LowestLatency,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Weighted, Self::LeastInFlight, Self::LowestLatency];

    /// The word that stands for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Weighted => "weighted",
            Self::LeastInFlight => "least_in_flight",
            Self::LowestLatency => "lowest_latency",
        }
    }

    /// The strategy of a word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|strategy| strategy.as_str() == word)
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Strategy {
    type Err = StrategyError;

    fn from_str(text: &str) -> Result<Self, StrategyError> {
        Self::of_word(text).ok_or(StrategyError)
    }
}

serde_as_text!(Strategy);

/// An unknown strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the strategy is one of weighted, least_in_flight, lowest_latency")]
pub struct StrategyError;

/// Where a deployment stands in its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rank {
    order: u16,
    weight: u16,
}

impl Rank {
    /// The last order.
    pub const LAST_ORDER: u16 = 1000;
    /// The largest weight.
    pub const LARGEST_WEIGHT: u16 = 1000;

    /// Lower orders go before higher ones, whatever their weights; within one, calls are spread by weight.
    ///
    /// # Errors
    /// An order above [`Self::LAST_ORDER`], or a weight that is not 1 to [`Self::LARGEST_WEIGHT`].
    pub fn new(order: u32, weight: u32) -> Result<Self, RankError> {
        let within = |value: u32, bounds: std::ops::RangeInclusive<u16>| {
            u16::try_from(value).ok().filter(|value| bounds.contains(value)).ok_or(RankError)
        };
        Ok(Self {
            order: within(order, 0..=Self::LAST_ORDER)?,
            weight: within(weight, 1..=Self::LARGEST_WEIGHT)?,
        })
    }

    /// Of a deployment that stands alone at this place of a list.
    pub fn alone(place: usize) -> Self {
        Self { order: u16::try_from(place).unwrap_or(Self::LAST_ORDER).min(Self::LAST_ORDER), weight: 1 }
    }

    /// Lower ones first.
    pub fn order(self) -> u16 {
        self.order
    }

    /// The deployment's share of the calls of its order.
    pub fn weight(self) -> u16 {
        self.weight
    }
}

/// A rank that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a deployment's order is 0 to {}, its weight 1 to {}", Rank::LAST_ORDER, Rank::LARGEST_WEIGHT)]
pub struct RankError;

/// What is said of a deployment's rank. What is left out depends on the others: see [`ranks`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GivenRank {
    /// Its order.
    pub order: Option<u32>,
    /// Its weight.
    pub weight: Option<u32>,
}

/// The ranks of a list of deployments.
///
/// A plain list is one of preference: each deployment is an order of its own, and the next is called when the one before cannot be. As soon as anything is said of
/// orders or weights, or a strategy is chosen that compares deployments, those of which no order is said stand together in order 0: otherwise there would be nothing to
/// choose from. A weight that is not said is 1.
///
/// # Errors
/// The first that cannot be, by its place.
pub fn ranks(strategy: Strategy, given: &[GivenRank]) -> Result<Vec<Rank>, (usize, RankError)> {
    let is_plain = strategy == Strategy::Weighted && given.iter().all(|rank| *rank == GivenRank::default());
    let each = given.iter().enumerate().map(|(place, rank)| {
        if is_plain {
            return Ok(Rank::alone(place));
        }
        Rank::new(rank.order.unwrap_or(0), rank.weight.unwrap_or(1)).map_err(|error| (place, error))
    });
    each.collect()
}

/// The models of the same organization that answer when a model cannot. They name no model in a circle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fallbacks {
    /// When all of its deployments fail.
    pub general: Option<ModelName>,
    /// When the prompt does not fit into its context window.
    pub context_window: Option<ModelName>,
    /// When a provider's content policy refuses the call with an error. An answer that a filter cut short is an answer.
    pub content_policy: Option<ModelName>,
}

impl Fallbacks {
    /// Fallbacks that can stand behind one another. A call follows no more of them, whatever a worker is told.
    pub const LONGEST_CHAIN: usize = 3;

    /// Whether there is one for a refusal.
    pub fn refusals(&self) -> bool {
        self.context_window.is_some() || self.content_policy.is_some()
    }

    /// Those that are named.
    pub fn named(&self) -> impl Iterator<Item = &ModelName> {
        [&self.general, &self.context_window, &self.content_policy].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests;
