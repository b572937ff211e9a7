//! `bailiwick org residency`: where an organization's calls may be processed.

use bailiwick_proto::{
    admin::v1::{GetResidencyRequest, SetResidencyRequest},
    config::v1::{Residency, ResidencyMode},
};
use clap::{ArgGroup, Subcommand};

use crate::{
    connection::{Connection, request, revision},
    failure::Failure,
    output::{Output, Record},
};

#[derive(Debug, Subcommand)]
pub(crate) enum ResidencyCommand {
    /// Shows it, and the region's own jurisdiction
    Show { org: String },
    /// Changes it, on every worker: deployments that it does not admit are not called any more. `bailiwick deployment list` says which, and why
    #[command(group = ArgGroup::new("residency").required(true))]
    Set {
        org: String,
        /// In the region's own jurisdiction alone: the default of every organization
        #[arg(long, group = "residency")]
        in_region: bool,
        /// At these hosts and no others, wherever they answer; may be given several times. A host, or `*.` and a name
        #[arg(long = "host", value_name = "HOST", group = "residency")]
        hosts: Vec<String>,
    },
}

impl ResidencyCommand {
    pub(super) async fn run(self, connection: &Connection, output: &Output) -> Result<(), Failure> {
        let mut client = connection.policies();
        match self {
            Self::Show { org } => {
                let message = GetResidencyRequest { organization_id: org.clone() };
                let answer = client.get_residency(request(message)).await?.into_inner();
                let record = record(&org, &answer.residency.unwrap_or_default());
                output.one(&record.text("region_jurisdiction", answer.region_jurisdiction));
            }
            Self::Set { org, in_region: _, hosts } => {
                let mode = if hosts.is_empty() { ResidencyMode::Region } else { ResidencyMode::Listed };
                let residency = Some(Residency { mode: mode.into(), hosts });
                let message = SetResidencyRequest { organization_id: org.clone(), residency };
                let answer = client.set_residency(request(message)).await?.into_inner();
                let record = record(&org, &answer.residency.unwrap_or_default());
                output.one(&record.count("revision", revision(answer.change)));
            }
        }
        Ok(())
    }
}

fn record(organization: &str, residency: &Residency) -> Record {
    let mode = match residency.mode() {
        ResidencyMode::Listed => "listed",
        ResidencyMode::Unspecified | ResidencyMode::Region => "region",
    };
    Record::default()
        .text("organization", organization)
        .text("residency", mode)
        .text("hosts", residency.hosts.join(" "))
}
