//! `bailiwick deployment`.

use bailiwick_domain::money::NanoUsd;
use bailiwick_proto::{
    admin::v1::{CreateDeploymentRequest, DeleteDeploymentRequest, Deployment, ListDeploymentsRequest},
    config::v1::Price,
};
use clap::{Args, Subcommand};

use crate::{
    connection::{Connection, EVERYTHING, idempotency_key, pages, request, revision},
    failure::Failure,
    input::Consent,
    output::{Output, Record, Value},
};

#[derive(Debug, Subcommand)]
pub(crate) enum DeploymentCommand {
    /// Says where a provider serves a model
    Create(CreateArguments),
    /// Lists an organization's deployments
    List {
        #[arg(long, value_name = "ID")]
        org: String,
    },
    /// Deletes a deployment that no model uses
    Delete {
        id: String,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    #[arg(long, value_name = "ID")]
    org: String,
    /// openai, openai_compatible, azure_openai, anthropic, gemini, vertex or bedrock
    #[arg(long)]
    provider: String,
    /// Base URL, e.g. https://api.openai.com/v1
    ///
    /// It ends in /v1 for openai, openai_compatible and anthropic; /openai for azure_openai; /v1beta for gemini;
    /// /v1/projects/PROJECT/locations/LOCATION for vertex; nothing for bedrock.
    #[arg(long, value_name = "URL")]
    endpoint: String,
    /// The provider's name of the model
    #[arg(long, value_name = "NAME")]
    upstream_model: String,
    #[arg(long, value_name = "ID")]
    credential: String,
    /// For azure_openai alone: the version of its API, such as 2024-10-21 (the default), 2025-04-01-preview or v1
    #[arg(long, value_name = "VERSION", default_value = "", hide_default_value = true)]
    api_version: String,
    #[command(flatten)]
    price: PriceArguments,
}

/// Dollars per million tokens.
#[derive(Debug, Args)]
struct PriceArguments {
    /// Price of a million prompt tokens in dollars, e.g. 2.5; without prices, the region's override or the catalogue's
    #[arg(long, value_name = "USD", requires = "output_price")]
    input_price: Option<NanoUsd>,
    /// Price of a million completion tokens in dollars
    #[arg(long, value_name = "USD", requires = "input_price")]
    output_price: Option<NanoUsd>,
    /// Price of a million prompt tokens that the provider had cached
    #[arg(long, value_name = "USD", requires = "input_price")]
    cached_input_price: Option<NanoUsd>,
    /// Price of a million prompt tokens that the provider wrote into its cache
    #[arg(long, value_name = "USD", requires = "input_price")]
    cache_write_price: Option<NanoUsd>,
}

impl PriceArguments {
    fn price(&self) -> Option<Price> {
        Some(Price {
            input_nanos_usd_per_million: self.input_price?.as_nanos(),
            output_nanos_usd_per_million: self.output_price?.as_nanos(),
            cached_input_nanos_usd_per_million: self.cached_input_price.map(NanoUsd::as_nanos),
            cache_write_nanos_usd_per_million: self.cache_write_price.map(NanoUsd::as_nanos),
        })
    }
}

impl DeploymentCommand {
    pub(crate) async fn run(self, connection: &Connection, output: &Output) -> Result<(), Failure> {
        let mut client = connection.models();
        match self {
            Self::Create(arguments) => {
                let message = CreateDeploymentRequest {
                    idempotency_key: idempotency_key(),
                    price: arguments.price.price(),
                    organization_id: arguments.org,
                    provider: arguments.provider,
                    endpoint: arguments.endpoint,
                    upstream_model: arguments.upstream_model,
                    credential_id: arguments.credential,
                    api_version: arguments.api_version,
                };
                let answer = client.create_deployment(request(message)).await?.into_inner();
                let record = record(&answer.deployment.unwrap_or_default());
                output.one(&record.count("revision", revision(answer.change)));
            }
            Self::List { org } => {
                let all = pages(EVERYTHING, async |page| {
                    let message = ListDeploymentsRequest { organization_id: org.clone(), page: Some(page) };
                    let answer = client.clone().list_deployments(request(message)).await?.into_inner();
                    Ok((answer.deployments, answer.page))
                })
                .await?;
                output.list(&all.iter().map(record).collect::<Vec<_>>());
            }
            Self::Delete { id, consent } => {
                consent.obtain(&format!("delete the deployment {id}"), output)?;
                let message = DeleteDeploymentRequest { id: id.clone() };
                let answer = client.delete_deployment(request(message)).await?.into_inner();
                output.one(&Record::default().text("deleted", id).count("revision", revision(answer.change)));
            }
        }
        Ok(())
    }
}

fn record(deployment: &Deployment) -> Record {
    let price = deployment.price.as_ref();
    let money = |nanos: Option<i64>| Value::Maybe(nanos.map(|nanos| Box::new(Value::Money(nanos))));
    Record::default()
        .text("id", &deployment.id)
        .text("provider", &deployment.provider)
        .text("endpoint", &deployment.endpoint)
        .text("upstream_model", &deployment.upstream_model)
        .text("credential", &deployment.credential_id)
        .text("api_version", &deployment.api_version)
        .with("input_per_million", money(price.map(|price| price.input_nanos_usd_per_million)))
        .with("output_per_million", money(price.map(|price| price.output_nanos_usd_per_million)))
        .text("price_source", &deployment.price_source)
        .text("egress_refusal", &deployment.egress_refusal)
        .time("created", deployment.created_at_micros)
}
