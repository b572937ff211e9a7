//! `bailiwick org`.

use bailiwick_proto::{
    admin::v1::{
        CreateOrganizationRequest, DeleteOrganizationRequest, GetOrganizationRequest,
        ListOrganizationsRequest, Organization, OrganizationStatus, SuspendOrganizationRequest,
    },
    config::v1::OnStale,
};
use clap::{Subcommand, ValueEnum};

use super::{
    allow_from::AllowFromCommand,
    backup,
    residency::ResidencyCommand,
    rotation::{self, Waiting},
};
use crate::{
    connection::{Connection, EVERYTHING, idempotency_key, pages, request, revision},
    contexts::Context,
    failure::Failure,
    input::Consent,
    output::{Output, Record},
};

#[derive(Debug, Subcommand)]
pub(crate) enum OrganizationCommand {
    /// Creates an organization in this region, for good
    Create {
        #[arg(long)]
        name: String,
        /// E-mail address of a contact
        #[arg(long)]
        email: Option<String>,
        /// What workers do for it that have lost their control plane for longer than their lease
        #[arg(long, value_enum, default_value_t = Stale::Refuse)]
        on_stale: Stale,
    },
    /// Shows an organization
    Get { id: String },
    /// Lists the region's organizations
    List,
    /// Where its calls may be processed: shown, or changed
    #[command(subcommand)]
    Residency(ResidencyCommand),
    /// From where its calls are taken: shown, or changed
    #[command(subcommand)]
    AllowFrom(AllowFromCommand),
    /// Stops all its calls, on every worker
    Suspend { id: String },
    /// Lifts a suspension
    Resume { id: String },
    /// Makes new data keys for it, and seals anew what older ones sealed
    RotateKeys {
        id: String,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Shows what became of a deleted organization: what was destroyed, and until when backups may hold its keys
    Destruction { id: String },
    /// Destroys its data keys and all that it has: nobody can undo it
    Delete {
        id: String,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Stale {
    /// A revocation may have been missed: refuse
    Refuse,
    /// Go on serving
    Serve,
}

impl OrganizationCommand {
    pub(crate) async fn run(
        self,
        connection: &Connection,
        context: &Context,
        output: &Output,
    ) -> Result<(), Failure> {
        let mut client = connection.organizations();
        match self {
            Self::Create { name, email, on_stale } => {
                let on_stale = match on_stale {
                    Stale::Refuse => OnStale::Refuse,
                    Stale::Serve => OnStale::Serve,
                };
                let message = CreateOrganizationRequest {
                    idempotency_key: idempotency_key(),
                    region: context.region.to_string(),
                    name,
                    contact_email: email.unwrap_or_default(),
                    on_stale: on_stale.into(),
                };
                let answer = client.create_organization(request(message)).await?.into_inner();
                let record = record(&answer.organization.unwrap_or_default());
                output.one(&record.count("revision", revision(answer.change)));
            }
            Self::Get { id } => {
                let answer =
                    client.get_organization(request(GetOrganizationRequest { id })).await?.into_inner();
                output.one(&record(&answer.organization.unwrap_or_default()));
            }
            Self::List => {
                let all = list(connection).await?;
                output.list(&all.iter().map(record).collect::<Vec<_>>());
            }
            Self::Residency(command) => command.run(connection, output).await?,
            Self::AllowFrom(command) => command.run(connection, output).await?,
            Self::Suspend { id } => suspend(connection, id, true, output).await?,
            Self::Resume { id } => suspend(connection, id, false, output).await?,
            Self::RotateKeys { id, waiting } => {
                rotation::rotate_data_keys(connection, output, id, waiting).await?;
            }
            Self::Destruction { id } => backup::destruction(connection, output, id).await?,
            Self::Delete { id, consent } => {
                consent.obtain(&format!("destroy the organization {id} and all that it has"), output)?;
                let message = DeleteOrganizationRequest { id: id.clone() };
                let answer = client.delete_organization(request(message)).await?.into_inner();
                output.one(&Record::default().text("deleted", id).count("revision", revision(answer.change)));
            }
        }
        Ok(())
    }
}

pub(super) async fn list(connection: &Connection) -> Result<Vec<Organization>, Failure> {
    let client = connection.organizations();
    pages(EVERYTHING, async |page| {
        let message = ListOrganizationsRequest { page: Some(page) };
        let answer = client.clone().list_organizations(request(message)).await?.into_inner();
        Ok((answer.organizations, answer.page))
    })
    .await
}

async fn suspend(
    connection: &Connection,
    id: String,
    suspended: bool,
    output: &Output,
) -> Result<(), Failure> {
    let message = SuspendOrganizationRequest { id, suspended };
    let answer = connection.organizations().suspend_organization(request(message)).await?.into_inner();
    let record = record(&answer.organization.unwrap_or_default());
    output.one(&record.count("revision", revision(answer.change)));
    Ok(())
}

fn record(organization: &Organization) -> Record {
    let status = match organization.status() {
        OrganizationStatus::Unspecified => "unknown",
        OrganizationStatus::Active => "active",
        OrganizationStatus::Suspended => "suspended",
        OrganizationStatus::Deleted => "deleted",
    };
    let on_stale = match organization.on_stale() {
        OnStale::Serve => "serve",
        OnStale::Unspecified | OnStale::Refuse => "refuse",
    };
    Record::default()
        .text("id", &organization.id)
        .text("name", &organization.name)
        .text("status", status)
        .text("contact_email", &organization.contact_email)
        .text("on_stale", on_stale)
        .text("region", &organization.region)
        .time("created", organization.created_at_micros)
}
