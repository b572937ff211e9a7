//! `bailiwick service-account`. A secret is shown once, by the command that makes it.

use bailiwick_proto::admin::v1::{
    CreateServiceAccountRequest, ListServiceAccountsRequest, RevokeServiceAccountRequest,
    RotateServiceAccountSecretRequest, ServiceAccount,
};
use clap::{Subcommand, ValueEnum};

use crate::{
    connection::{Connection, EVERYTHING, idempotency_key, pages, request},
    failure::Failure,
    input::Consent,
    output::{Output, Record},
};

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceAccountCommand {
    /// Creates an account, and shows its secret this once
    Create {
        #[arg(long, value_name = "ID")]
        org: String,
        #[arg(long)]
        name: String,
        /// What it may do in its organization: everything, everything but what concerns owners, read, or see the models. It keeps its role
        #[arg(long, value_enum)]
        role: Role,
    },
    /// Lists an organization's accounts, revoked ones too
    List {
        #[arg(long, value_name = "ID")]
        org: String,
    },
    /// Makes a new secret; the old one ends at once, and the tokens that were obtained with it
    Rotate { id: String },
    /// Ends an account for good: its secret and its tokens are refused from now on
    Revoke {
        id: String,
        #[command(flatten)]
        consent: Consent,
    },
}

/// A role of an organization.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Role {
    Owner,
    Admin,
    Viewer,
    Member,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Viewer => "viewer",
            Self::Member => "member",
        }
    }
}

impl ServiceAccountCommand {
    pub(crate) async fn run(self, connection: &Connection, output: &Output) -> Result<(), Failure> {
        let mut client = connection.service_accounts();
        match self {
            Self::Create { org, name, role } => {
                let message = CreateServiceAccountRequest {
                    idempotency_key: idempotency_key(),
                    organization_id: org,
                    name,
                    role: role.as_str().to_owned(),
                };
                let answer = client.create_service_account(request(message)).await?.into_inner();
                show(answer.service_account, answer.service_account_secret, output);
            }
            Self::List { org } => {
                let all = pages(EVERYTHING, async |page| {
                    let message =
                        ListServiceAccountsRequest { organization_id: org.clone(), page: Some(page) };
                    let answer = client.clone().list_service_accounts(request(message)).await?.into_inner();
                    Ok((answer.service_accounts, answer.page))
                })
                .await?;
                output.list(&all.iter().map(record).collect::<Vec<_>>());
            }
            Self::Rotate { id } => {
                let message = RotateServiceAccountSecretRequest { id, idempotency_key: idempotency_key() };
                let answer = client.rotate_service_account_secret(request(message)).await?.into_inner();
                show(answer.service_account, answer.service_account_secret, output);
            }
            Self::Revoke { id, consent } => {
                consent.obtain(&format!("revoke the service account {id}"), output)?;
                let message = RevokeServiceAccountRequest { id };
                let answer = client.revoke_service_account(request(message)).await?.into_inner();
                output.one(&record(&answer.service_account.unwrap_or_default()));
            }
        }
        Ok(())
    }
}

fn show(account: Option<ServiceAccount>, secret: String, output: &Output) {
    output.one(&record(&account.unwrap_or_default()).text("service_account_secret", secret));
    output.note("the secret is shown this once and stored nowhere");
}

fn record(account: &ServiceAccount) -> Record {
    let status = if account.revoked_at_micros == 0 { "active" } else { "revoked" };
    Record::default()
        .text("id", &account.id)
        .text("name", &account.name)
        .text("role", &account.role)
        .text("status", status)
        .time("created", account.created_at_micros)
        .time("rotated", account.rotated_at_micros)
        .time("revoked", account.revoked_at_micros)
}
