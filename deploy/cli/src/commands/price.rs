//! `bailiwick price`: what the operator has agreed with organizations; and prices as arguments and in answers.

use bailiwick_domain::money::NanoUsd;
use bailiwick_proto::{
    admin::v1::{ContractPrice, ListContractPricesRequest, SetContractPriceRequest},
    config::v1::Price,
};
use clap::{Args, Subcommand};

use crate::{
    connection::{Connection, EVERYTHING, pages, request, revision},
    failure::Failure,
    input::Consent,
    output::{Output, Record, Value},
};

#[derive(Debug, Subcommand)]
pub(crate) enum PriceCommand {
    /// Lists an organization's contract prices
    List {
        #[arg(long, value_name = "ID")]
        org: String,
    },
    /// Sets what a model at a provider costs an organization, wherever it is deployed
    ///
    /// A deployment's own price goes before it; the region's override and the catalogue come after it.
    Set {
        #[command(flatten)]
        of: Priced,
        #[command(flatten)]
        price: PriceArguments,
    },
    /// Removes one: the model costs the organization what it costs everybody
    Remove {
        #[command(flatten)]
        of: Priced,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Priced {
    #[arg(long, value_name = "ID")]
    org: String,
    /// openai, openai_compatible, azure_openai, anthropic, gemini, vertex or bedrock
    #[arg(long)]
    provider: String,
    /// The provider's name of the model, as deployments have it
    #[arg(long, value_name = "NAME")]
    upstream_model: String,
}

/// Dollars per million tokens, per image, per minute.
#[derive(Debug, Args)]
pub(crate) struct PriceArguments {
    /// Price of a million prompt tokens in dollars, e.g. 2.5
    #[arg(long, value_name = "USD", requires = "output_price")]
    input_price: Option<NanoUsd>,
    /// Price of a million completion tokens in dollars
    #[arg(long, value_name = "USD", requires = "input_price")]
    output_price: Option<NanoUsd>,
    /// Price of a million prompt tokens that the provider had cached
    #[arg(long, value_name = "USD", requires = "input_price")]
    cached_input_price: Option<NanoUsd>,
    /// Price of a million prompt tokens that the provider wrote into its cache for some minutes
    #[arg(long, value_name = "USD", requires = "input_price")]
    cache_write_price: Option<NanoUsd>,
    /// Price of a generated image, on top of what its tokens cost
    #[arg(long, value_name = "USD", requires = "input_price")]
    image_price: Option<NanoUsd>,
    /// Price of a minute of audio, on top of what its tokens cost
    #[arg(long, value_name = "USD", requires = "input_price")]
    audio_minute_price: Option<NanoUsd>,
}

impl PriceArguments {
    pub(crate) fn price(&self) -> Option<Price> {
        Some(Price {
            input_nanos_usd_per_million: self.input_price?.as_nanos(),
            output_nanos_usd_per_million: self.output_price?.as_nanos(),
            cached_input_nanos_usd_per_million: self.cached_input_price.map(NanoUsd::as_nanos),
            cache_write_nanos_usd_per_million: self.cache_write_price.map(NanoUsd::as_nanos),
            image_nanos_usd: self.image_price.map(NanoUsd::as_nanos),
            audio_nanos_usd_per_minute: self.audio_minute_price.map(NanoUsd::as_nanos),
        })
    }
}

impl PriceCommand {
    pub(crate) async fn run(self, connection: &Connection, output: &Output) -> Result<(), Failure> {
        match self {
            Self::List { org } => {
                let client = connection.prices();
                let all = pages(EVERYTHING, async |page| {
                    let message =
                        ListContractPricesRequest { organization_id: org.clone(), page: Some(page) };
                    let answer = client.clone().list_contract_prices(request(message)).await?.into_inner();
                    Ok((answer.prices, answer.page))
                })
                .await?;
                output.list(&all.iter().map(record).collect::<Vec<_>>());
                Ok(())
            }
            Self::Set { of, price } => {
                let price = price.price().ok_or_else(|| {
                    Failure::usage("a price is missing")
                        .hint("give --input-price and --output-price; 0 is a price")
                })?;
                set(connection, of, Some(price), output).await
            }
            Self::Remove { of, consent } => {
                let what =
                    format!("remove the price of {} at {} for {}", of.upstream_model, of.provider, of.org);
                consent.obtain(&what, output)?;
                set(connection, of, None, output).await
            }
        }
    }
}

async fn set(
    connection: &Connection,
    of: Priced,
    price: Option<Price>,
    output: &Output,
) -> Result<(), Failure> {
    let record = Record::default()
        .text("organization", &of.org)
        .text("provider", &of.provider)
        .text("upstream_model", &of.upstream_model);
    let message = SetContractPriceRequest {
        organization_id: of.org,
        provider: of.provider,
        upstream_model: of.upstream_model,
        price,
    };
    let answer = connection.prices().set_contract_price(request(message)).await?.into_inner();
    output.one(&record.count("deployments", answer.deployments).count("revision", revision(answer.change)));
    Ok(())
}

fn record(price: &ContractPrice) -> Record {
    let record = Record::default()
        .text("organization", &price.organization_id)
        .text("provider", &price.provider)
        .text("upstream_model", &price.upstream_model);
    with_price(record, price.price.as_ref()).time("set", price.set_at_micros)
}

/// A price in an answer; nothing stands where nothing is priced.
pub(crate) fn with_price(record: Record, price: Option<&Price>) -> Record {
    let money = |nanos: Option<i64>| Value::Maybe(nanos.map(|nanos| Box::new(Value::Money(nanos))));
    record
        .with("input_per_million", money(price.map(|price| price.input_nanos_usd_per_million)))
        .with("output_per_million", money(price.map(|price| price.output_nanos_usd_per_million)))
        .with("cached_input_per_million", money(price.and_then(|p| p.cached_input_nanos_usd_per_million)))
        .with("cache_write_per_million", money(price.and_then(|p| p.cache_write_nanos_usd_per_million)))
        .with("per_image", money(price.and_then(|p| p.image_nanos_usd)))
        .with("per_audio_minute", money(price.and_then(|p| p.audio_nanos_usd_per_minute)))
}
