//! `bailiwick-worker`: the data plane of one region. It authenticates, proxies and meters tenants' calls.
//!
//! Start reading at [`app`], which wires what `serve` runs. [`snapshot`] is the configuration in memory, [`metering`] what calls cost, [`limits`] what they may.
//!
//! Never here: a database driver, a path to tenants' accounts, a prompt or an answer anywhere but in passing.

mod admission;
mod answer;
mod app;
mod authentication;
mod body;
mod dialects;
mod error;
mod estimate;
mod gateway;
mod json;
mod limits;
mod memory;
mod metering;
mod metrics;
mod models;
mod origin;
mod permission;
mod placement;
#[cfg(test)]
mod polling;
mod request;
mod retry_after;
mod settings;
mod snapshot;
mod timing;
mod tokens;
mod upload;
mod upstream;

use std::{error::Error, io::Write as _, path::PathBuf, process::ExitCode};

use bailiwick_runtime::{
    configuration::{load, take_environment},
    hardening, telemetry,
};
use clap::{Parser, Subcommand};

use settings::{ENVIRONMENT, Settings};

/// Most of what a call costs here is many small pieces of memory, which this one gives and takes faster than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads of the runtime beside the cores. Two, so that nothing that one does holds up a revocation.
const CONTROL_THREADS: usize = 2;

/// A data-plane worker of one Bailiwick region: it pulls its configuration from the region's control plane, proxies LLM calls, and sends usage
/// back.
#[derive(Parser)]
#[command(name = "bailiwick-worker", version)]
struct Arguments {
    /// The configuration, TOML. Variables such as BAILIWICK_WORKER_SERVE__LISTEN override it.
    #[arg(long, global = true, value_name = "FILE", env = "BAILIWICK_WORKER_CONFIG")]
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
}

fn main() -> ExitCode {
    start().unwrap_or_else(|error| failed(error.as_ref()))
}

fn start() -> anyhow::Result<ExitCode> {
    hardening::harden()?;
    take_environment()?;
    run(Arguments::parse())
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let settings: Settings = load(arguments.config.as_deref(), ENVIRONMENT)?;
    match arguments.command {
        Command::CheckConfig { connect } => {
            if connect {
                telemetry::reach_once(&settings.telemetry, &settings.resolver)?;
            }
            writeln!(std::io::stdout(), "The configuration is good.")?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Serve => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(CONTROL_THREADS)
                .thread_name("control")
                .enable_all()
                .build()?;
            runtime.block_on(Box::pin(app::serve(settings)))
        }
    }
}

/// The error and its causes, each once, on the standard error: it may be that nothing else was set up yet.
fn failed(error: &(dyn Error + 'static)) -> ExitCode {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    let text = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    let _nobody_reads = writeln!(std::io::stderr(), "error: {text}");
    ExitCode::FAILURE
}
