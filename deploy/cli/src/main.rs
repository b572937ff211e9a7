//! `bailiwick`: the operator's command. It asks one region's control plane, chosen by a context, and prints what it answers.
//!
//! Start at [`app`] for what happens between arguments and exit code, at [`contexts`] for how a region is chosen, and at
//! [`commands`] for what can be asked.
//!
//! Never here: a secret in an argument list or an error, a request to a region other than the chosen one.

mod app;
mod certificate;
mod checklist;
mod commands;
mod connection;
mod contexts;
mod environment;
mod failure;
mod input;
mod output;
mod when;

use std::process::ExitCode;

fn main() -> ExitCode {
    app::run()
}
