//! `bailiwick org allow-from`: from where an organization's calls are taken.

use bailiwick_proto::admin::v1::{GetAllowedRangesRequest, SetAllowedRangesRequest};
use clap::{ArgGroup, Subcommand};

use crate::{
    connection::{Connection, request, revision},
    failure::Failure,
    output::{Output, Record, Value},
};

#[derive(Debug, Subcommand)]
pub(crate) enum AllowFromCommand {
    /// Shows the ranges; none means anywhere
    Show { org: String },
    /// Replaces the ranges, on every worker: callers elsewhere get 403 `address_not_allowed`. This command is not bound by them: a wrong list can always be replaced
    #[command(group = ArgGroup::new("allowed").required(true))]
    Set {
        org: String,
        /// A range or an address, v4 or v6, such as 203.0.113.0/24; may be given several times, at most 100
        #[arg(long = "range", value_name = "CIDR", group = "allowed")]
        ranges: Vec<String>,
        /// From anywhere: the default of every organization
        #[arg(long, group = "allowed")]
        anywhere: bool,
    },
}

impl AllowFromCommand {
    pub(super) async fn run(self, connection: &Connection, output: &Output) -> Result<(), Failure> {
        let mut client = connection.policies();
        match self {
            Self::Show { org } => {
                let message = GetAllowedRangesRequest { organization_id: org.clone() };
                let answer = client.get_allowed_ranges(request(message)).await?.into_inner();
                output.one(&record(&org, answer.allowed_ranges));
            }
            Self::Set { org, ranges, anywhere: _ } => {
                let message =
                    SetAllowedRangesRequest { organization_id: org.clone(), allowed_ranges: ranges };
                let answer = client.set_allowed_ranges(request(message)).await?.into_inner();
                let narrowed = !answer.allowed_ranges.is_empty();
                let record = record(&org, answer.allowed_ranges);
                output.one(&record.count("revision", revision(answer.change)));
                if narrowed {
                    output.note(&format!(
                        "callers elsewhere are refused from now on; `bailiwick org allow-from set {org} --anywhere` takes that back"
                    ));
                }
            }
        }
        Ok(())
    }
}

fn record(organization: &str, ranges: Vec<String>) -> Record {
    Record::default().text("organization", organization).with("allowed_from", Value::List(ranges))
}
