//! `bailiwick region`.

use std::{path::PathBuf, time::Duration};

use bailiwick_proto::admin::v1::{CreateJoinTokenRequest, GetRegionRequest};
use clap::{Subcommand, ValueEnum};

use super::backup;
use super::rotation::{self, Waiting};
use super::{authority, trust};
use crate::{
    connection::{Connection, idempotency_key, request},
    failure::{Exit, Failure},
    output::{Output, Record},
    when::duration,
};

#[derive(Debug, Subcommand)]
pub(crate) enum RegionCommand {
    /// Shows the region as its control plane sees it
    Info,
    /// Shows whose certificates are revoked, and which process has heard of it
    Trust,
    /// Shows where the region's certificates come from, and how far a change of that is
    Authority,
    /// Changes the region's root certificate for another: both are trusted until everybody has a certificate of the new one
    RotateAuthority {
        /// Take the step that a change under way waits for, whoever is shut out by it
        #[arg(long)]
        force: bool,
        /// Wait until the change waits for nothing but certificates of operators and services, or is over; exit code 1 when it is neither
        #[arg(long)]
        wait: bool,
        /// How long to wait, in seconds
        #[arg(long, requires = "wait", default_value_t = 120, value_name = "SECONDS")]
        timeout: u64,
    },
    /// Shuts out an operator or a service: certificates of this name that were issued up to now are refused
    RevokeCertificate {
        #[arg(long, value_enum)]
        role: CallerRole,
        /// Name in the certificate
        #[arg(long)]
        name: String,
    },
    /// Wraps every data key under the present master key
    ///
    /// Make a new key, name it as master_key in the control plane's configuration and the old one under [[master_key.previous]], restart the
    /// control plane (workers serve on), then run this. When `region keys` shows no data key under the old one, take it out.
    RotateMasterKey {
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Makes new data keys for the region's own secrets, and seals them anew
    RotateKeys {
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Lists rotations of keys, and how far they are
    Rotations,
    /// Shows which master keys wrap the region's data keys
    Keys,
    /// Makes a backup of the whole region while it serves: two sealed files, which only its master key opens
    ///
    /// Restore it with `bailiwick-control-plane restore --from DIR`, while the control plane does not run: it verifies all of it before anything is
    /// replaced.
    Backup {
        /// Folder for data.bailiwick and keys.bailiwick; made when missing
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// How long keys.bailiwick may be kept, at most 90 days
        #[arg(long, value_parser = duration, default_value = "7d")]
        keys_for: Duration,
    },
    /// Lists backups, and until when their keys may exist
    Backups,
    /// Creates a one-time token with which a worker or router joins, and shows it this once
    JoinToken {
        #[arg(long, value_enum)]
        role: Role,
        /// Name in its certificate: 1 to 63 of a-z, 0-9 and -
        #[arg(long)]
        name: String,
        /// How long the token can be used, at most 7 days
        #[arg(long, value_parser = duration, default_value = "1h")]
        lifetime: Duration,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum CallerRole {
    Operator,
    Service,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Role {
    Worker,
    Router,
}

impl RegionCommand {
    pub(crate) async fn run(self, connection: &Connection, output: &Output) -> Result<Exit, Failure> {
        let done = match self {
            Self::Info => info(connection, output).await,
            Self::Trust => trust::show(connection, output).await,
            Self::Authority => authority::show(connection, output).await,
            Self::RotateAuthority { force, wait, timeout } => {
                let timeout = wait.then(|| Duration::from_secs(timeout));
                return authority::rotate(connection, force, timeout, output).await;
            }
            Self::RevokeCertificate { role, name } => {
                let role = match role {
                    CallerRole::Operator => "operator",
                    CallerRole::Service => "service",
                };
                trust::revoke_certificate(connection, role, name, output).await
            }
            Self::RotateMasterKey { waiting } => {
                rotation::rotate_master_key(connection, output, waiting).await
            }
            Self::RotateKeys { waiting } => {
                rotation::rotate_data_keys(connection, output, String::new(), waiting).await
            }
            Self::Backup { out, keys_for } => backup::create(connection, output, &out, keys_for).await,
            Self::Backups => backup::list(connection, output).await,
            Self::Rotations => rotation::list(connection, output).await,
            Self::Keys => rotation::key_material(connection, output).await,
            Self::JoinToken { role, name, lifetime } => {
                let lifetime_seconds = u32::try_from(lifetime.as_secs())
                    .ok()
                    .filter(|seconds| *seconds > 0)
                    .ok_or_else(|| Failure::usage("--lifetime: from 1 second to 7 days"))?;
                let role = match role {
                    Role::Worker => "worker",
                    Role::Router => "router",
                };
                let message = CreateJoinTokenRequest {
                    idempotency_key: idempotency_key(),
                    role: role.to_owned(),
                    name: name.clone(),
                    lifetime_seconds,
                };
                let answer = connection.region().create_join_token(request(message)).await?.into_inner();
                output.one(
                    &Record::default()
                        .text("role", role)
                        .text("name", name)
                        .time("expires", answer.expires_at_micros)
                        .text("join_token", answer.join_token),
                );
                output.note("the token is shown this once and works once");
                Ok(())
            }
        };
        done.map(|()| Exit::Done)
    }
}

async fn info(connection: &Connection, output: &Output) -> Result<(), Failure> {
    let region = connection.region().get_region(request(GetRegionRequest {})).await?.into_inner();
    output.one(
        &Record::default()
            .text("name", region.name)
            .text("code", region.code)
            .text("installation", region.installation)
            .text("epoch", region.epoch)
            .count("revision", region.revision)
            .count("organizations", region.organizations)
            .text("store", region.store)
            .text("coordination", region.coordination)
            .text("ca_fingerprint", region.ca_fingerprint)
            .time("ca_expires", region.ca_expires_at_micros)
            .time("now", region.now_micros)
            .text("build", region.build),
    );
    Ok(())
}
