//! `bailiwick-control-plane`: accounts and key material of one region.
//!
//! Start reading at [`app`], which wires what `serve` runs; [`commands`] are what an operator runs beside it. [`worker`] is the API for workers
//! and routers, [`configuration`] the log that they follow, [`admin`] the API for people and services. Who may call which method stands in [`rpcs`].

mod admin;
mod app;
mod commands;
mod configuration;
mod guard;
mod listeners;
mod metrics;
mod own_identity;
mod quota;
mod region;
mod rpcs;
mod settings;
mod status;
mod tasks;
mod trust;
mod worker;

use std::{io::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use bailiwick_domain::spiffe::ProcessRole;
use bailiwick_runtime::{
    configuration::{load, take_environment},
    hardening, telemetry,
};
use clap::{Parser, Subcommand, ValueEnum};
#[cfg(debug_assertions)]
use secrecy::ExposeSecret as _;
use secrecy::SecretString;

use settings::{ENVIRONMENT, Settings};

/// Usage arrives as many small pieces of memory, which this one gives and takes faster than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The control plane of one Bailiwick region: it holds the region's accounts and key material, and tells its workers what to serve.
///
/// A new region: write a configuration file, then `init`, then `serve`. Workers and routers join with a token from `join-token`; people call the
/// admin API with a certificate from `issue-certificate --role operator`.
#[derive(Parser)]
#[command(name = "bailiwick-control-plane", version)]
struct Arguments {
    /// The configuration, TOML. Variables such as BAILIWICK_CONTROL_PLANE_STORE__URL override it.
    #[arg(long, global = true, value_name = "FILE", env = "BAILIWICK_CONTROL_PLANE_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run until SIGTERM or SIGINT; a second one ends at once.
    Serve,
    /// Read the configuration, report everything that is wrong with it, and exit.
    CheckConfig {
        /// Also connect to the collector of telemetry that it names, as the process would, and let go of it.
        #[arg(long)]
        connect: bool,
    },
    /// Make the store, the region's certificate authority and its keys. Run again, it changes nothing.
    Init {
        /// Write a new master key where `master_key.file` names a file that does not exist. Back it up: without it nothing that is sealed can
        /// be opened again.
        #[arg(long)]
        generate_master_key: bool,
    },
    /// Issue a certificate of any role; writes ca.pem, cert.pem and key.pem. People and services call the admin API with one. Workers and routers join
    /// with a token instead: a certificate alone makes none of them a member of the region.
    IssueCertificate(commands::CertificateArguments),
    /// Print a token with which one process joins the region, once.
    JoinToken {
        /// What joins.
        #[arg(long, value_enum)]
        role: JoinRole,
        /// Name in its certificate: lower-case letters, digits and hyphens. A process that joins again under its name takes its own place.
        #[arg(long)]
        name: String,
        /// Minutes until the token ends.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=10_080))]
        minutes: u64,
    },
    /// Print tokens of whatever is given, signed with the region's own key. Not in what operators run: for attacks, in builds for development.
    #[cfg(debug_assertions)]
    SignTokens {
        /// `header.claims` of a token, each part in base64url.
        #[arg(required = true)]
        messages: Vec<String>,
    },
    /// Put a backup in the place of what the configured store holds, while the control plane does not run.
    ///
    /// Everything is verified before anything is replaced: that the backup is this region's and nothing of it was changed or is missing, that every
    /// sealed value opens and every audit chain is whole. What fails leaves the store as it was. `bailiwick region backup` makes backups.
    Restore(commands::RestoreArguments),
    /// Read a whole store and say what does not hold; exit 1 if anything. Changes nothing, and may run while the server does.
    ///
    /// With this region's identity and master key, it tries to open every sealed value in its place, verifies every audit chain, and checks that
    /// references and counts agree. The store of another region or installation is refused, and named.
    VerifyStore {
        /// The store to verify, instead of the configured one: sqlite:///path/region.db, or postgres://user@host/database. A password belongs
        /// into the configuration, where the process list does not show it.
        #[arg(long, value_name = "URL")]
        store: Option<SecretString>,
        /// How the report is printed.
        #[arg(short, long, value_enum, default_value_t = commands::Format::Text)]
        output: commands::Format,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum JoinRole {
    Worker,
    Router,
}

fn main() -> ExitCode {
    start().unwrap_or_else(|error| failed(&error))
}

fn start() -> anyhow::Result<ExitCode> {
    hardening::harden()?;
    take_environment()?;
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(Box::pin(run(arguments)))
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let settings: Settings = load(arguments.config.as_deref(), ENVIRONMENT)?;
    match arguments.command {
        Command::Serve => return app::serve(settings).await,
        Command::CheckConfig { connect } => {
            if connect {
                telemetry::reach(&settings.telemetry, &settings.resolver).await?;
            }
            say("The configuration is good.")?;
        }
        Command::Init { generate_master_key } => say(&commands::init(&settings, generate_master_key).await?)?,
        Command::IssueCertificate(arguments) => say(&arguments.run(&settings).await?)?,
        Command::JoinToken { role, name, minutes } => {
            let role = match role {
                JoinRole::Worker => ProcessRole::Worker,
                JoinRole::Router => ProcessRole::Router,
            };
            let token =
                commands::join_token(&settings, role, &name, Duration::from_secs(minutes * 60)).await?;
            // Nothing but the token, so that it can be piped.
            say(token.expose())?;
        }
        #[cfg(debug_assertions)]
        Command::SignTokens { messages } => {
            for token in commands::sign_tokens(&settings, &messages).await? {
                say(token.expose_secret())?;
            }
        }
        Command::Restore(arguments) => say(&commands::restore(&settings, &arguments).await?)?,
        Command::VerifyStore { store, output } => {
            let (report, holds) = commands::verify_store(&settings, store, output).await?;
            say(&report)?;
            return Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A command's own output.
fn say(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}

/// The one place that prints an error, with the chain of its causes.
fn failed(error: &anyhow::Error) -> ExitCode {
    // Where even the standard error is gone, the exit code is all that is left.
    let _ = writeln!(std::io::stderr().lock(), "bailiwick-control-plane: {error:#}");
    ExitCode::FAILURE
}
