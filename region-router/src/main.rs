//! The ingress of a region: admits its own callers, and turns the others away from the request's head alone.
//!
//! Start at [`gateway`]: a request's path, whole, on one page.

mod admission;
mod app;
mod balance;
mod connection;
mod error;
mod forward;
mod gateway;
mod metrics;
mod pool;
mod settings;
mod signup;
mod workers;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// Most of what a call costs here is many small pieces of memory, which this one gives and takes faster than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The router of one region.
///
/// Settings come from a TOML file; variables override it: BAILIWICK_ROUTER_SERVE__LISTEN sets `listen` in `[serve]`.
#[derive(Debug, Parser)]
#[command(name = "bailiwick-router", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT; then finish what is under way.
    Serve(FileArgument),
    /// Read the settings, report every problem, and exit.
    CheckConfig {
        #[command(flatten)]
        file: FileArgument,
        /// Also connect to the collector of telemetry that it names, as the process would, and let go of it.
        #[arg(long)]
        connect: bool,
    },
}

#[derive(Debug, clap::Args)]
struct FileArgument {
    /// Settings.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        complain(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

fn run() -> anyhow::Result<ExitCode> {
    bailiwick_runtime::hardening::harden()?;
    bailiwick_runtime::configuration::take_environment()?;
    match Arguments::parse().command {
        Command::Serve(file) => app::serve(&file.config),
        Command::CheckConfig { file, connect } => app::check(&file.config, connect),
    }
}

#[expect(clippy::print_stderr, reason = "before and after the log exists, this is where an operator looks")]
fn complain(line: &str) {
    eprintln!("{line}");
}
