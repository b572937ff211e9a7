//! `bailiwick credential`. A secret comes from a file or standard input and is never shown again.

use bailiwick_proto::admin::v1::{
    CreateCredentialRequest, Credential, DeleteCredentialRequest, ListCredentialsRequest,
    ReplaceCredentialRequest,
};
use clap::Subcommand;
use secrecy::ExposeSecret;

use crate::{
    connection::{Connection, EVERYTHING, idempotency_key, pages, request, revision},
    failure::Failure,
    input::{Consent, SecretSource},
    output::{Output, Record},
};

#[derive(Debug, Subcommand)]
pub(crate) enum CredentialCommand {
    /// Stores a provider's secret
    ///
    /// An API key or a bearer token is stored as it is. For Bedrock, an AWS key signs: JSON such as
    /// {"access_key_id": "AKIA…", "secret_access_key": "…"}, with "session_token" for a temporary one, and "region" where the
    /// endpoint's host does not name it.
    ///
    /// For Azure OpenAI without a key, a client of Entra is exchanged for tokens: JSON such as
    /// {"tenant_id": "…", "client_id": "…", "client_secret": "…"}, with "authority": "https://login.microsoftonline.us" and
    /// "scope" for another cloud than the public one. For Vertex AI, the key file of a Google service account is, as it is
    /// downloaded. Workers fetch the tokens, and renew them before they end.
    ///
    /// Whoever issues tokens is told who the organization is to its provider, and when it calls, but nothing of a call. Such hosts
    /// are global, and no residency is asked; so the operator has to name them: [egress] of the control plane's configuration
    /// takes catalogue = ["entra", "google_identity"], or issuers = [{ pattern = "login.example", jurisdiction = "eu" }].
    Create {
        #[arg(long, value_name = "ID")]
        org: String,
        #[arg(long)]
        name: String,
        #[command(flatten)]
        secret: SecretSource,
    },
    /// Replaces the secret under the same id: no call fails meanwhile
    Replace {
        id: String,
        #[command(flatten)]
        secret: SecretSource,
    },
    /// Deletes a credential that no deployment uses
    Delete {
        id: String,
        #[command(flatten)]
        consent: Consent,
    },
    /// Lists an organization's credentials, without their secrets
    List {
        #[arg(long, value_name = "ID")]
        org: String,
    },
}

impl CredentialCommand {
    pub(crate) async fn run(self, connection: &Connection, output: &Output) -> Result<(), Failure> {
        let mut client = connection.credentials();
        match self {
            Self::Create { org, name, secret } => {
                let message = CreateCredentialRequest {
                    idempotency_key: idempotency_key(),
                    organization_id: org,
                    name,
                    secret: secret.read()?.expose_secret().to_owned(),
                };
                let answer = client.create_credential(request(message)).await?.into_inner();
                let record = record(&answer.credential.unwrap_or_default());
                output.one(&record.count("revision", revision(answer.change)));
            }
            Self::Replace { id, secret } => {
                let message =
                    ReplaceCredentialRequest { id, secret: secret.read()?.expose_secret().to_owned() };
                let answer = client.replace_credential(request(message)).await?.into_inner();
                let record = record(&answer.credential.unwrap_or_default());
                output.one(&record.count("revision", revision(answer.change)));
            }
            Self::Delete { id, consent } => {
                consent.obtain(&format!("delete the credential {id}"), output)?;
                let message = DeleteCredentialRequest { id: id.clone() };
                let answer = client.delete_credential(request(message)).await?.into_inner();
                output.one(&Record::default().text("deleted", id).count("revision", revision(answer.change)));
            }
            Self::List { org } => {
                let all = pages(EVERYTHING, async |page| {
                    let message = ListCredentialsRequest { organization_id: org.clone(), page: Some(page) };
                    let answer = client.clone().list_credentials(request(message)).await?.into_inner();
                    Ok((answer.credentials, answer.page))
                })
                .await?;
                output.list(&all.iter().map(record).collect::<Vec<_>>());
            }
        }
        Ok(())
    }
}

fn record(credential: &Credential) -> Record {
    Record::default()
        .text("id", &credential.id)
        .text("name", &credential.name)
        .count("version", credential.version)
        .time("created", credential.created_at_micros)
        .time("replaced", credential.replaced_at_micros)
}
