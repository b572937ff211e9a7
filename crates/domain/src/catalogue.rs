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
    #[serde(default)]
    cached_input_usd_per_million: Option<String>,
    #[serde(default)]
    cache_write_usd_per_million: Option<String>,
}

impl PriceCatalogue {
    /// The catalogue that ships with the program.
    pub fn builtin() -> &'static Self {
        static CATALOGUE: OnceLock<PriceCatalogue> = OnceLock::new();
        CATALOGUE.get_or_init(|| Self::parse(BUILTIN))
    }

    /// Rows without a price for both input and output are left out: what they cost is unknown, not nothing. Embeddings have no
    /// output to price.
    fn parse(text: &str) -> Self {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
        let rows = reader.deserialize::<Row>().filter_map(Result::ok);
        let entries = rows.filter_map(|row| {
            let price = Price {
                input: per_million(&row.input_usd_per_million)?,
                output: match row.output_usd_per_million.as_str() {
                    "" if row.mode == "embedding" => PerMillion::default(),
                    text => per_million(text)?,
                },
                cached_input: row.cached_input_usd_per_million.as_deref().and_then(per_million),
                cache_write: row.cache_write_usd_per_million.as_deref().and_then(per_million),
            };
            Some(((row.provider, row.model), CatalogueEntry { mode: row.mode, price }))
        });
        Self { entries: entries.collect() }
    }

    /// The entry of a provider's model.
    pub fn lookup(&self, provider: &str, model: &str) -> Option<&CatalogueEntry> {
        self.entries.get(&(provider.to_owned(), model.to_owned()))
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
    PerMillion::from_usd(text.trim().parse::<NanoUsd>().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_catalogue_is_read_whole() {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(BUILTIN.as_bytes());
        let rows: Vec<Row> =
            reader.deserialize().collect::<Result<_, _>>().expect("every row has the columns");
        let unpriced = |row: &&Row| row.mode != "embedding" && row.output_usd_per_million.is_empty();
        let left_out = rows.iter().filter(unpriced).count();
        assert!(rows.len() > 1500 && left_out < 40, "{left_out} of {}", rows.len());
        assert_eq!(PriceCatalogue::builtin().len() + left_out, rows.len());
    }

    #[test]
    fn fractions_of_a_cent_are_exact() {
        let catalogue = PriceCatalogue::parse(
            "provider,model,mode,context_tokens,max_output_tokens,input_usd_per_million,output_usd_per_million,cached_input_usd_per_million,cache_write_usd_per_million\n\
             openai,small,chat,1,1,0.0375,0.15,,\nopenai,unpriced,chat,1,1,,,,\n",
        );
        assert_eq!(
            catalogue.lookup("openai", "small").map(|entry| entry.price.input.as_nanos()),
            Some(37_500_000)
        );
        assert_eq!(catalogue.lookup("openai", "unpriced"), None);
    }
}
