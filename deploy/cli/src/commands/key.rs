//! `bailiwick key`.

use std::time::Duration;

use bailiwick_domain::time::{Clock, SystemClock};
use bailiwick_proto::{
    admin::v1::{
        AllowedRanges, CreateKeyRequest, GetOrganizationRequest, Key, KeyStatus, ListKeysRequest,
        RevokeKeyRequest, RotateKeyRequest, UpdateKeyRequest,
    },
    config::v1::OnStale,
};
use clap::{ArgGroup, Args, Subcommand};

use super::wait;
use crate::{
    connection::{Connection, EVERYTHING, idempotency_key, pages, request, revision},
    failure::{Exit, Failure},
    output::{Output, Record, Value},
    when::{When, duration},
};

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Creates a key, and shows it this once
    Create(CreateArguments),
    /// Lists an organization's keys
    List {
        #[arg(long, value_name = "ID")]
        org: String,
    },
    /// Makes a new key with the same permissions; the old one works on for a while
    Rotate {
        id: String,
        /// How long the old key still works, at most 30 days
        #[arg(long, value_parser = duration, default_value = "24h")]
        overlap: Duration,
    },
    /// Changes from where calls with a key are taken, on every worker. This command is not bound by it: a wrong list can always be replaced
    #[command(group = ArgGroup::new("allowed").required(true))]
    Update {
        id: String,
        /// A range or an address, v4 or v6, such as 203.0.113.0/24; may be given several times, at most 100. Replaces all that the key had
        #[arg(long, value_name = "CIDR", group = "allowed")]
        allow_from: Vec<String>,
        /// From wherever its organization's calls are taken
        #[arg(long, group = "allowed")]
        allow_from_anywhere: bool,
    },
    /// Takes a key from every worker
    Revoke {
        id: String,
        /// Wait until every worker has applied it; exit code 1 when one has not
        #[arg(long)]
        wait: bool,
        /// How long to wait, in seconds
        #[arg(long, requires = "wait", default_value_t = 30, value_name = "SECONDS")]
        timeout: u64,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    #[arg(long, value_name = "ID")]
    org: String,
    #[arg(long)]
    name: String,
    /// Public name of a model that it may call; may be repeated. None: all of the organization's
    #[arg(long = "model", value_name = "NAME")]
    models: Vec<String>,
    /// A range or an address, v4 or v6, such as 203.0.113.0/24, from which its calls are taken; may be repeated. None: from wherever its organization's are
    #[arg(long, value_name = "CIDR")]
    allow_from: Vec<String>,
    /// When it ends: a time (RFC 3339) or a duration from now, such as 30d
    #[arg(long, value_parser = When::parse, value_name = "WHEN")]
    expires: Option<When>,
}

impl KeyCommand {
    pub(crate) async fn run(self, connection: &Connection, output: &Output) -> Result<Exit, Failure> {
        match self {
            Self::Create(arguments) => create(connection, arguments, output).await?,
            Self::List { org } => list(connection, &org, output).await?,
            Self::Rotate { id, overlap } => rotate(connection, id, overlap, output).await?,
            Self::Update { id, allow_from, allow_from_anywhere: _ } => {
                update(connection, id, allow_from, output).await?;
            }
            Self::Revoke { id, wait, timeout } => {
                let timeout = wait.then(|| Duration::from_secs(timeout));
                return revoke(connection, id, timeout, output).await;
            }
        }
        Ok(Exit::Done)
    }
}

async fn create(connection: &Connection, arguments: CreateArguments, output: &Output) -> Result<(), Failure> {
    let expires = arguments.expires.map(|when| when.after(SystemClock.now()).as_micros());
    let message = CreateKeyRequest {
        idempotency_key: idempotency_key(),
        organization_id: arguments.org,
        name: arguments.name,
        allowed_models: arguments.models,
        allowed_ranges: arguments.allow_from,
        expires_at_micros: expires.unwrap_or_default(),
    };
    let answer = connection.keys().create_key(request(message)).await?.into_inner();
    let record = record(&answer.key.unwrap_or_default()).count("revision", revision(answer.change));
    output.one(&record.text("api_key", answer.api_key));
    output.note("the key is shown this once and stored nowhere");
    Ok(())
}

async fn list(connection: &Connection, organization: &str, output: &Output) -> Result<(), Failure> {
    let client = connection.keys();
    let all = pages(EVERYTHING, async |page| {
        let message = ListKeysRequest { organization_id: organization.to_owned(), page: Some(page) };
        let answer = client.clone().list_keys(request(message)).await?.into_inner();
        Ok((answer.keys, answer.page))
    })
    .await?;
    output.list(&all.iter().map(record).collect::<Vec<_>>());
    Ok(())
}

async fn rotate(
    connection: &Connection,
    id: String,
    overlap: Duration,
    output: &Output,
) -> Result<(), Failure> {
    let overlap_seconds =
        u32::try_from(overlap.as_secs()).map_err(|_long| Failure::usage("--overlap: at most 30 days"))?;
    let message = RotateKeyRequest { id, overlap_seconds, idempotency_key: idempotency_key() };
    let answer = connection.keys().rotate_key(request(message)).await?.into_inner();
    let old = answer.old_key.unwrap_or_default();
    let record = record(&answer.key.unwrap_or_default())
        .text("old_key_id", old.id)
        .time("old_key_expires", old.expires_at_micros)
        .count("revision", revision(answer.change));
    output.one(&record.text("api_key", answer.api_key));
    output.note("the key is shown this once and stored nowhere");
    Ok(())
}

async fn update(
    connection: &Connection,
    id: String,
    ranges: Vec<String>,
    output: &Output,
) -> Result<(), Failure> {
    let message = UpdateKeyRequest { id, allowed_ranges: Some(AllowedRanges { ranges }) };
    let answer = connection.keys().update_key(request(message)).await?.into_inner();
    let key = answer.key.unwrap_or_default();
    output.one(&record(&key).count("revision", revision(answer.change)));
    if !key.allowed_ranges.is_empty() {
        output.note("callers elsewhere are refused from now on; --allow-from-anywhere takes that back");
    }
    Ok(())
}

async fn revoke(
    connection: &Connection,
    id: String,
    timeout: Option<Duration>,
    output: &Output,
) -> Result<Exit, Failure> {
    let answer = connection.keys().revoke_key(request(RevokeKeyRequest { id })).await?.into_inner();
    let key = answer.key.unwrap_or_default();
    let revision = revision(answer.change);
    let revoked = record(&key).count("revision", revision);
    let Some(timeout) = timeout else {
        output.one(&revoked);
        return Ok(Exit::Done);
    };
    let served_stale = is_served_stale(connection, key.organization_id.clone()).await?;
    let applied = wait::until_applied(connection, revision, served_stale, timeout, output).await?;
    let record = revoked
        .count("workers", applied.workers)
        .count("applied", applied.applied)
        .with("not_applied", Value::List(applied.missing.clone()));
    output.one(&record);
    Ok(if applied.everywhere() { Exit::Done } else { Exit::Failed })
}

async fn is_served_stale(connection: &Connection, id: String) -> Result<bool, Failure> {
    let answer = connection.organizations().get_organization(request(GetOrganizationRequest { id })).await?;
    let organization = answer.into_inner().organization.unwrap_or_default();
    Ok(organization.on_stale() == OnStale::Serve)
}

fn record(key: &Key) -> Record {
    let status = match key.status() {
        KeyStatus::Unspecified => "unknown",
        KeyStatus::Active => "active",
        KeyStatus::Revoked => "revoked",
        KeyStatus::Expired => "expired",
    };
    Record::default()
        .text("id", &key.id)
        .text("name", &key.name)
        .text("status", status)
        .with("models", Value::List(key.allowed_models.clone()))
        .with("allowed_from", Value::List(key.allowed_ranges.clone()))
        .time("created", key.created_at_micros)
        .time("expires", key.expires_at_micros)
        .time("revoked", key.revoked_at_micros)
        .text("prefix", &key.display_prefix)
}
