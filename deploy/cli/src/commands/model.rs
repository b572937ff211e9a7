//! `bailiwick model`.

use std::str::FromStr;

use bailiwick_proto::{
    admin::v1::{CreateModelRequest, DeleteModelRequest, ListModelsRequest, Model, UpdateModelRequest},
    config::v1::Rank,
};
use clap::{Args, Subcommand};

use crate::{
    connection::{Connection, EVERYTHING, idempotency_key, pages, request, revision},
    failure::Failure,
    input::Consent,
    output::{Output, Record, Value},
};

#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// Gives a name to deployments
    Create {
        #[arg(long, value_name = "ID")]
        org: String,
        /// Name that applications call it by
        #[arg(long)]
        name: String,
        /// Deployment that serves it, repeated; ID, or ID,order=N,weight=N
        ///
        /// Without orders and weights they stand in order of preference: the next is called when the one before cannot be.
        /// Otherwise those of the lowest order share the calls, by weight (1 to 1000, default 1), and the next order (0 to
        /// 1000, default 0) is called when they cannot be.
        #[arg(long = "deployment", value_name = "ID[,order=N][,weight=N]", required = true)]
        deployments: Vec<Serving>,
        #[command(flatten)]
        routing: RoutingArguments,
    },
    /// Lists an organization's models
    List {
        #[arg(long, value_name = "ID")]
        org: String,
    },
    /// Changes a model's deployments, its strategy or its fallbacks; what is not named stays
    Update {
        id: String,
        /// Deployment that serves it, repeated: all of them anew, as in `create`
        #[arg(long = "deployment", value_name = "ID[,order=N][,weight=N]")]
        deployments: Vec<Serving>,
        #[command(flatten)]
        routing: RoutingArguments,
    },
    /// Deletes a model; its deployments stay
    Delete {
        id: String,
        #[command(flatten)]
        consent: Consent,
    },
}

/// How calls are spread, and what stands in for the model.
#[derive(Debug, Args)]
pub(crate) struct RoutingArguments {
    /// How a call chooses among deployments of one order: weighted, least_in_flight or lowest_latency
    #[arg(long, value_name = "WORD")]
    strategy: Option<String>,
    /// Model of the organization that answers when all deployments fail; '' for none
    ///
    /// Whoever may use this model gets the fallback's answers too, also with a key that may not name it.
    #[arg(long, value_name = "NAME")]
    fallback: Option<String>,
    /// Model that answers prompts that do not fit into this one's context window; '' for none
    #[arg(long, value_name = "NAME")]
    context_window_fallback: Option<String>,
    /// Model that answers calls that a provider's content policy refuses with an error; '' for none
    #[arg(long, value_name = "NAME")]
    content_policy_fallback: Option<String>,
}

/// A deployment, and what is said of its rank.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Serving {
    id: String,
    rank: Rank,
}

impl FromStr for Serving {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let id = parts.next().unwrap_or_default().to_owned();
        let mut rank = Rank::default();
        for part in parts {
            let (place, number) = match part.split_once('=') {
                Some(("order", number)) => (&mut rank.order, number),
                Some(("weight", number)) => (&mut rank.weight, number),
                _ => return Err(format!("`{part}` is neither order=N nor weight=N")),
            };
            *place = Some(number.parse().map_err(|_| format!("`{number}` is not a number"))?);
        }
        Ok(Self { id, rank })
    }
}

/// Ranks are sent only where something is said of one.
fn split(deployments: Vec<Serving>) -> (Vec<String>, Vec<Rank>) {
    let is_plain = deployments.iter().all(|one| one.rank == Rank::default());
    let (ids, ranks): (Vec<_>, Vec<_>) = deployments.into_iter().map(|one| (one.id, one.rank)).unzip();
    (ids, if is_plain { Vec::new() } else { ranks })
}

impl ModelCommand {
    pub(crate) async fn run(self, connection: &Connection, output: &Output) -> Result<(), Failure> {
        let mut client = connection.models();
        match self {
            Self::Create { org, name, deployments, routing } => {
                let (deployment_ids, ranks) = split(deployments);
                let message = CreateModelRequest {
                    idempotency_key: idempotency_key(),
                    organization_id: org,
                    name,
                    deployment_ids,
                    ranks,
                    strategy: routing.strategy.unwrap_or_default(),
                    fallback_model: routing.fallback.unwrap_or_default(),
                    context_window_fallback_model: routing.context_window_fallback.unwrap_or_default(),
                    content_policy_fallback_model: routing.content_policy_fallback.unwrap_or_default(),
                };
                let answer = client.create_model(request(message)).await?.into_inner();
                let record = record(&answer.model.unwrap_or_default());
                output.one(&record.count("revision", revision(answer.change)));
            }
            Self::List { org } => {
                let all = pages(EVERYTHING, async |page| {
                    let message = ListModelsRequest { organization_id: org.clone(), page: Some(page) };
                    let answer = client.clone().list_models(request(message)).await?.into_inner();
                    Ok((answer.models, answer.page))
                })
                .await?;
                output.list(&all.iter().map(record).collect::<Vec<_>>());
            }
            Self::Update { id, deployments, routing } => {
                let (deployment_ids, ranks) = split(deployments);
                let message = UpdateModelRequest {
                    id,
                    deployment_ids,
                    ranks,
                    strategy: routing.strategy.unwrap_or_default(),
                    fallback_model: routing.fallback,
                    context_window_fallback_model: routing.context_window_fallback,
                    content_policy_fallback_model: routing.content_policy_fallback,
                };
                let answer = client.update_model(request(message)).await?.into_inner();
                let record = record(&answer.model.unwrap_or_default());
                output.one(&record.count("revision", revision(answer.change)));
            }
            Self::Delete { id, consent } => {
                consent.obtain(&format!("delete the model {id}"), output)?;
                let message = DeleteModelRequest { id: id.clone() };
                let answer = client.delete_model(request(message)).await?.into_inner();
                output.one(&Record::default().text("deleted", id).count("revision", revision(answer.change)));
            }
        }
        Ok(())
    }
}

fn record(model: &Model) -> Record {
    let ranks = model.ranks.iter().copied().map(Some).chain(std::iter::repeat(None));
    let deployments = model.deployment_ids.iter().zip(ranks).map(|(id, rank)| match rank {
        Some(Rank { order: Some(order), weight: Some(weight) }) => {
            format!("{id},order={order},weight={weight}")
        }
        _ => id.clone(),
    });
    Record::default()
        .text("id", &model.id)
        .text("name", &model.name)
        .with("deployments", Value::List(deployments.collect()))
        .text("strategy", &model.strategy)
        .text("fallback", &model.fallback_model)
        .text("context_window_fallback", &model.context_window_fallback_model)
        .text("content_policy_fallback", &model.content_policy_fallback_model)
        .time("created", model.created_at_micros)
}

#[cfg(test)]
mod tests;
