//! From arguments to an exit code.

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory, Parser};

use crate::{
    commands::Command,
    connection::with_cause,
    environment::Environment,
    failure::{Exit, Failure},
    output::{Format, Output},
};

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  failed, or a check did not pass
  2  the arguments, or the configuration of contexts, are wrong
  3  the control plane cannot be reached
  4  the control plane denies it to this caller
  5  not found

Environment:
  BAILIWICK_CONFIG  the file of contexts, instead of ~/.config/bailiwick/contexts.toml
  BAILIWICK_LOCAL   the description of a local installation; used before the usual file of contexts
  NO_COLOR          no colours; there are none outside a terminal";

/// Operates the regions of a Bailiwick installation.
///
/// A context says where a region's control plane listens and which certificate to present, or whose secret to
/// exchange for a token. Without any context, the local installation
/// described by ./.bailiwick/local.json is used.
#[derive(Debug, Parser)]
#[command(name = "bailiwick", version, after_help = EXIT_CODES, max_term_width = 110)]
pub(crate) struct Arguments {
    /// Which context to use
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Which region to ask, where only one context is of that region
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) region: Option<String>,
    /// How to print answers
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    pub(crate) output: Format,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Runs the program.
pub(crate) fn run() -> ExitCode {
    let environment = Environment::read();
    // It holds an operator's key, and shows keys that are shown once.
    if let Err(error) = bailiwick_runtime::hardening::harden() {
        Output::new(Format::Table, true).failure(&Failure::failed(with_cause(&error)));
        return Exit::Failed.code();
    }
    run_with(std::env::args_os(), &environment).code()
}

fn run_with(arguments: impl IntoIterator<Item = OsString>, environment: &Environment) -> Exit {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and the version are asked for, not wrong. Nobody is left to tell when the terminal is gone.
            let _gone = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    let output = Output::new(arguments.output, environment.no_color);
    if let Command::Completions { shell } = arguments.command {
        output.completions(&mut Arguments::command(), shell);
        return Exit::Done;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = Failure::failed(format!("cannot start the runtime: {error}"));
            output.failure(&failure);
            return failure.exit;
        }
    };
    let selection = crate::contexts::Selection { context: arguments.context, region: arguments.region };
    match runtime.block_on(Box::pin(arguments.command.run(&selection, environment, &output))) {
        Ok(exit) => exit,
        Err(failure) => {
            output.failure(&failure);
            failure.exit
        }
    }
}

#[cfg(test)]
mod tests;
