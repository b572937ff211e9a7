//! What can be asked, one file for each group.

mod allow_from;
mod audit;
mod authority;
mod backup;
mod check;
mod context;
mod credential;
mod deployment;
mod diagnose;
mod explain;
mod key;
mod limit;
mod model;
mod organization;
mod price;
mod region;
mod residency;
mod rotation;
mod service_account;
mod token;
mod trust;
mod usage;
mod verify;
mod wait;
mod worker;

use clap::Subcommand;

use crate::{
    connection::Connection,
    contexts::{Context, Selection},
    environment::Environment,
    failure::{Exit, Failure},
    output::Output,
};

/// A command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The contexts: which regions there are, and how to reach them
    #[command(subcommand)]
    Context(context::ContextCommand),
    /// Organizations
    #[command(subcommand)]
    Org(organization::OrganizationCommand),
    /// API keys, which applications present
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Service accounts: programs of an organization that administer it
    #[command(subcommand)]
    ServiceAccount(service_account::ServiceAccountCommand),
    /// Exchanges a service account's secret for a bearer token, and prints it
    Token(token::TokenArguments),
    /// Providers' secrets
    #[command(subcommand)]
    Credential(credential::CredentialCommand),
    /// Models: public names, and the deployments behind them
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// Deployments: where a provider serves a model
    #[command(subcommand)]
    Deployment(deployment::DeploymentCommand),
    /// Limits: how much of requests, tokens and money calls may use
    #[command(subcommand)]
    Limit(limit::LimitCommand),
    /// Prices that the operator has agreed with organizations
    #[command(subcommand)]
    Price(price::PriceCommand),
    /// Workers and routers
    #[command(subcommand)]
    Worker(worker::WorkerCommand),
    /// What calls have used and cost
    Usage(usage::UsageArguments),
    /// Who changed what
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// The region itself
    #[command(name = "region", subcommand)]
    Region(region::RegionCommand),
    /// What workers act on
    #[command(subcommand)]
    Config(explain::ConfigCommand),
    /// Checks a region from certificate to router; exit code 1 when anything is wrong
    Check,
    /// Looks at all that can be seen from here, also while the control plane is down
    Diagnose,
    /// Proves that regions are apart, by attacking them
    #[command(subcommand)]
    Verify(verify::VerifyCommand),
    /// Prints a script that completes commands
    Completions { shell: clap_complete::Shell },
}

impl Command {
    pub(crate) async fn run(
        self,
        selection: &Selection,
        environment: &Environment,
        output: &Output,
    ) -> Result<Exit, Failure> {
        match self {
            Self::Context(command) => {
                return command.run(selection, environment, output).map(|()| Exit::Done);
            }
            Self::Verify(command) => return command.run(environment, output).await,
            Self::Diagnose => return Ok(diagnose::run(selection, environment, output).await),
            _ => (),
        }
        let context = Context::resolve(selection, environment)?;
        let open = async || Connection::open(&context).await;
        let done = match self {
            Self::Check => return Ok(check::run(&context, output).await),
            Self::Config(command) => return command.run(&context, output).await,
            Self::Audit(command) => return command.run(&open().await?, output).await,
            Self::Key(command) => return command.run(&open().await?, output).await,
            Self::ServiceAccount(command) => command.run(&open().await?, output).await,
            Self::Token(arguments) => arguments.run(&context, output).await,
            Self::Org(command) => command.run(&open().await?, &context, output).await,
            Self::Credential(command) => command.run(&open().await?, output).await,
            Self::Model(command) => command.run(&open().await?, output).await,
            Self::Deployment(command) => command.run(&open().await?, output).await,
            Self::Limit(command) => command.run(&open().await?, output).await,
            Self::Price(command) => command.run(&open().await?, output).await,
            Self::Worker(command) => return command.run(&open().await?, output).await,
            Self::Usage(arguments) => arguments.run(&open().await?, output).await,
            Self::Region(command) => return command.run(&open().await?, output).await,
            // They need no region, or all of them, and were answered before.
            Self::Context(_) | Self::Verify(_) | Self::Diagnose | Self::Completions { .. } => Ok(()),
        };
        done.map(|()| Exit::Done)
    }
}
