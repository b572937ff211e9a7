//! Public list prices, in US dollars per million tokens, as `data/model_prices.csv` holds them. An operator's override
//! goes before them.

use std::{collections::HashMap, sync::OnceLock};

use serde::Deserialize;

use crate::{
    money::NanoUsd,
    price::{PerMillion, Price},
};

const BUILTIN: &str = include_str!("../data/model_prices.csv");

/// Prices by provider and model.
#[derive(Debug)]
pub struct PriceCatalogue {
    entries: HashMap<(String, String), CatalogueEntry>,
}

/// A model in the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogueEntry {
    /// e.g. `chat`, `embedding`.
    pub mode: String,
    /// List price.
    pub price: Price,
}

#[derive(Deserialize)]
struct Row {
    provider: String,
    model: String,
    mode: String,
    input_usd_per_million: String,
    output_usd_per_million: String,
    cached_input_usd_per_million: String,
    cache_write_usd_per_million: String,
}

impl Row {
    /// `None`: an amount is malformed, or input or output has none, or they are not what the model's calls cost.
    fn price(&self) -> Option<Price> {
        let output = match self.output_usd_per_million.as_str() {
            // An embedding has no completion tokens, so nothing is left open.
            "" if self.mode == "embedding" => PerMillion::default(),
            amount => per_million(amount)?,
        };
        let tokens = Price::of_tokens(per_million(&self.input_usd_per_million)?, output);
        let cached_input = optional(&self.cached_input_usd_per_million)?;
        let cache_write = optional(&self.cache_write_usd_per_million)?;
        Some(Price { cached_input, cache_write, ..tokens }).filter(|_| !self.tells_of_text_alone())
    }
}

impl Row {
    /// Tokens of pictures and of sound cost several times what those of text do, or are not what is charged for; the list has no column for that. Its amounts would charge a
    /// fraction of what the provider does.
    fn tells_of_text_alone(&self) -> bool {
        ["image_generation", "audio_speech", "audio_transcription"].contains(&self.mode.as_str())
    }
}

impl PriceCatalogue {
    /// The catalogue that ships with the program.
    pub fn builtin() -> &'static Self {
        static CATALOGUE: OnceLock<PriceCatalogue> = OnceLock::new();
        CATALOGUE.get_or_init(|| Self::parse(BUILTIN))
    }

    /// Rows that cannot be priced are left out: what they cost is unknown, not nothing.
    fn parse(text: &str) -> Self {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let rows = reader.deserialize::<Row>().filter_map(Result::ok);
        let entries = rows.filter_map(|row| {
            let price = row.price()?;
            Some(((row.provider, row.model), CatalogueEntry { mode: row.mode, price }))
        });
        Self { entries: entries.collect() }
    }

    /// The entry of a provider's model.
    pub fn lookup(&self, provider: &str, model: &str) -> Option<&CatalogueEntry> {
        self.entries.get(&(provider.to_owned(), model.to_owned()))
    }

    /// Every entry with its provider and model, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &CatalogueEntry)> {
        self.entries.iter().map(|((provider, model), entry)| (provider.as_str(), model.as_str(), entry))
    }

    /// How many models it knows.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn per_million(text: &str) -> Option<PerMillion> {
    PerMillion::from_usd(text.parse::<NanoUsd>().ok()?).ok()
}

/// An empty amount is no price; a malformed one makes the row unusable.
fn optional(text: &str) -> Option<Option<PerMillion>> {
    if text.is_empty() { Some(None) } else { per_million(text).map(Some) }
}

#[cfg(test)]
mod tests;
