//! `bailiwick deployment`.

use bailiwick_proto::admin::v1::{
    CreateDeploymentRequest, DeleteDeploymentRequest, Deployment, ListDeploymentsRequest,
};
use clap::{Args, Subcommand};

use super::price::{PriceArguments, with_price};
use crate::{
    connection::{Connection, EVERYTHING, idempotency_key, pages, request, revision},
    failure::Failure,
    input::Consent,
    output::{Output, Record},
};

#[derive(Debug, Subcommand)]
pub(crate) enum DeploymentCommand {
    /// Says where a provider serves a model
    Create(Box<CreateArguments>),
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
    /// /v1/projects/PROJECT/locations/LOCATION for vertex; nothing for bedrock. Global endpoints and inference profiles that
    /// leave the region's jurisdiction (global., or us. in the EU) are refused where the residency is `region`; whether an
    /// Azure deployment is of a global type its name does not tell.
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
    /// Without prices: what the operator has agreed with the organization, else the region's override, else the catalogue's
    #[command(flatten)]
    price: PriceArguments,
}

impl DeploymentCommand {
    pub(crate) async fn run(self, connection: &Connection, output: &Output) -> Result<(), Failure> {
        let mut client = connection.models();
        match self {
            Self::Create(arguments) => {
                let arguments = *arguments;
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
    let record = Record::default()
        .text("id", &deployment.id)
        .text("provider", &deployment.provider)
        .text("endpoint", &deployment.endpoint)
        .text("upstream_model", &deployment.upstream_model)
        .text("credential", &deployment.credential_id)
        .text("api_version", &deployment.api_version);
    let source = if deployment.price_source.is_empty() { "UNPRICED" } else { &deployment.price_source };
    with_price(record, deployment.price.as_ref())
        .text("price_source", source)
        .text("egress_refusal", &deployment.egress_refusal)
        .time("created", deployment.created_at_micros)
}
