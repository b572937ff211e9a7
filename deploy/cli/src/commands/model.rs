//! `bailiwick model`.

use bailiwick_proto::admin::v1::{
    CreateModelRequest, DeleteModelRequest, ListModelsRequest, Model, UpdateModelRequest,
};
use clap::Subcommand;

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
        /// Deployment that serves it; repeated in order of preference
        #[arg(long = "deployment", value_name = "ID", required = true)]
        deployments: Vec<String>,
    },
    /// Lists an organization's models
    List {
        #[arg(long, value_name = "ID")]
        org: String,
    },
    /// Sets a model's deployments
    Update {
        id: String,
        /// Deployment that serves it; repeated in order of preference
        #[arg(long = "deployment", value_name = "ID", required = true)]
        deployments: Vec<String>,
    },
    /// Deletes a model; its deployments stay
    Delete {
        id: String,
        #[command(flatten)]
        consent: Consent,
    },
}

impl ModelCommand {
    pub(crate) async fn run(self, connection: &Connection, output: &Output) -> Result<(), Failure> {
        let mut client = connection.models();
        match self {
            Self::Create { org, name, deployments } => {
                let message = CreateModelRequest {
                    idempotency_key: idempotency_key(),
                    organization_id: org,
                    name,
                    deployment_ids: deployments,
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
            Self::Update { id, deployments } => {
                let message = UpdateModelRequest { id, deployment_ids: deployments };
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
    Record::default()
        .text("id", &model.id)
        .text("name", &model.name)
        .with("deployments", Value::List(model.deployment_ids.clone()))
        .time("created", model.created_at_micros)
}
