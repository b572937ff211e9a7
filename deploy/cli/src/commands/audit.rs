//! `bailiwick audit`.

use bailiwick_proto::admin::v1::{AuditRecord, ListAuditRecordsRequest, VerifyAuditChainRequest};
use clap::Subcommand;

use crate::{
    connection::{Connection, EVERYTHING, pages, request},
    failure::{Exit, Failure},
    output::{Output, Record, Value},
};

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Lists what was changed, oldest first
    List {
        /// The organization; without it, the region's own chain
        #[arg(long, value_name = "ID")]
        org: Option<String>,
        /// How many at most; without it, all
        #[arg(long)]
        limit: Option<usize>,
    },
    /// Recomputes a chain; exit code 1 when it is broken
    Verify {
        /// The organization; without it, the region's own chain
        #[arg(long, value_name = "ID")]
        org: Option<String>,
    },
}

impl AuditCommand {
    pub(crate) async fn run(self, connection: &Connection, output: &Output) -> Result<Exit, Failure> {
        let client = connection.audit();
        match self {
            Self::List { org, limit } => {
                let organization_id = org.unwrap_or_default();
                let records = pages(limit.unwrap_or(EVERYTHING), async |page| {
                    let message = ListAuditRecordsRequest {
                        organization_id: organization_id.clone(),
                        page: Some(page),
                    };
                    let answer = client.clone().list_audit_records(request(message)).await?.into_inner();
                    Ok((answer.records, answer.page))
                })
                .await?;
                output.list(&records.iter().map(record).collect::<Vec<_>>());
                Ok(Exit::Done)
            }
            Self::Verify { org } => {
                let message = VerifyAuditChainRequest { organization_id: org.unwrap_or_default() };
                let answer = client.clone().verify_audit_chain(request(message)).await?.into_inner();
                let bad = (!answer.intact).then(|| Box::new(Value::Count(answer.first_bad_sequence)));
                output.one(
                    &Record::default()
                        .with("intact", Value::Flag(answer.intact))
                        .count("records", answer.records)
                        .text("head", hexadecimal(&answer.head))
                        .with("first_bad_sequence", Value::Maybe(bad)),
                );
                Ok(if answer.intact { Exit::Done } else { Exit::Failed })
            }
        }
    }
}

fn record(record: &AuditRecord) -> Record {
    Record::default()
        .count("sequence", record.sequence)
        .time("at", record.at_micros)
        .text("actor", &record.actor)
        .text("action", &record.action)
        .text("subject", &record.subject)
        .count("revision", record.revision)
        .text("hash", hexadecimal(&record.hash))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
