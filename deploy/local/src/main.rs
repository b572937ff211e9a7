//! Three regions on one machine: `bailiwick-local up` starts them as separate processes, signs up an organization in each, and shows a metered
//! completion from each; `bailiwick-local down` stops what `up --detach` left running.
//!
//! It does nothing that an operator could not do by hand: it writes configuration files, runs the binaries that stand beside it, and calls the
//! admin API and the routers like anyone else. Start at [`up::up`].

mod account;
mod admin;
mod completion;
mod configuration;
mod description;
mod down;
mod layout;
mod network;
mod process;
mod progress;
mod region;
mod report;
mod up;
mod upstream;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

/// Three regions of Bailiwick on this machine.
#[derive(Debug, Parser)]
#[command(name = "bailiwick-local", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start three regions, sign up an organization in each, and send one completion through each.
    Up(UpArguments),
    /// Stop what `up --detach` left running.
    Down(DownArguments),
}

/// What `up` can be told.
#[derive(Debug, Args)]
pub(crate) struct UpArguments {
    /// Return when everything is ready; `down` stops it.
    #[arg(long)]
    pub(crate) detach: bool,
    /// Forget the state of earlier starts: organizations, keys, usage.
    #[arg(long)]
    pub(crate) fresh: bool,
    /// An OpenAI-compatible server to call, such as http://127.0.0.1:11434/v1. Its key is taken from UPSTREAM_API_KEY.
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Option<String>,
    /// The model to call there.
    #[arg(long, value_name = "NAME")]
    pub(crate) upstream_model: Option<String>,
    /// Use the simulated provider, also when OPENAI_API_KEY is set.
    #[arg(long, conflicts_with = "upstream")]
    pub(crate) simulated: bool,
    /// Folder for the state, one folder a region in it.
    #[arg(long, value_name = "DIR", default_value = ".bailiwick")]
    pub(crate) state_dir: PathBuf,
    /// Use ports from this one upwards (70 of them) in place of the fixed ones.
    #[arg(long, value_name = "PORT")]
    pub(crate) ports_from: Option<u16>,
    /// Let workers also serve plain HTTP on loopback, without a router in front; for benchmarks.
    #[arg(long, conflicts_with = "network")]
    pub(crate) plain_workers: bool,
    /// Start each region in a network namespace of its own, as this JSON file says: {"outside": ADDRESS, "regions": {NAME: {"address", "namespace"}}}. Needs
    /// root, and iproute2.
    #[arg(long, value_name = "FILE")]
    pub(crate) network: Option<PathBuf>,
}

/// What `down` can be told.
#[derive(Debug, Args)]
pub(crate) struct DownArguments {
    /// Folder that `up` was given.
    #[arg(long, value_name = "DIR", default_value = ".bailiwick")]
    pub(crate) state_dir: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Up(arguments) => up::up(arguments).await,
        Command::Down(arguments) => down::down(&arguments.state_dir).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress::failed(&error);
            ExitCode::FAILURE
        }
    }
}
