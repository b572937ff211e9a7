//! Measures, in one run on one machine: directly at a provider, through nginx as a bare proxy, through a worker, and through router and worker. Figures are worth
//! something only beside each other: the load, the provider and what is measured share the processors.

mod http;
mod keys;
mod load;
mod measure;
mod nginx;
mod process;
mod provider;
mod secure;
mod soak;
mod streams;
mod subject;
mod table;
mod targets;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use bailiwick_runtime::resources::take_descriptors;
use bailiwick_tests::secure::Material;
use clap::{Parser, Subcommand, ValueEnum};

use crate::{
    measure::{Measurement, Plan},
    subject::Subject,
};

/// A worker, and router and worker, beside nginx as a bare proxy: throughput, processor time, latencies, streams, memory, and what very many keys change.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Measures these alone.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Measurement>,
    /// Connections of the measurements under load.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Idle streams that are held at once; fewer where the system lets one process have fewer files: a stream takes two.
    #[arg(long, default_value_t = 10_000)]
    streams: usize,
    /// Numbers of keys. They are put into the region's store while it is down, by the program `sqlite3`.
    #[arg(long, value_delimiter = ',', default_value = "1,10000,1000000")]
    keys: Vec<u64>,
    /// Folder of the built programs; where this one lies.
    #[arg(long)]
    bin_dir: Option<PathBuf>,
    /// First of the 80 ports that are used.
    #[arg(long, default_value_t = 27_000)]
    ports_from: u16,
    /// The provider speaks TLS and HTTP/2 to a worker; to nginx, which cannot, it speaks as ever. A stream takes a worker one file then.
    #[arg(long)]
    http2: bool,
    /// Leaves nginx out, and with it the comparison.
    #[arg(long)]
    without_nginx: bool,
    /// What is printed.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Loads router and worker at 70 % of their capacity for long: no error, usage exact, memory flat; anything else is an error.
    Soak {
        /// Seconds of the load.
        #[arg(long, default_value_t = 3_600)]
        seconds: u64,
        /// Connections.
        #[arg(long, default_value_t = 64)]
        connections: usize,
        /// Folder of the built programs; where this one lies.
        #[arg(long)]
        bin_dir: Option<PathBuf>,
        /// First of the 80 ports that are used.
        #[arg(long, default_value_t = 27_000)]
        ports_from: u16,
        /// What is printed.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Serves as the provider, until it is killed.
    #[command(hide = true)]
    Provider {
        #[arg(long)]
        listen: SocketAddr,
        /// Where it speaks TLS and HTTP/2, too.
        #[arg(long, requires = "material")]
        secure: Option<SocketAddr>,
        /// Folder of the certificate that it shows there.
        #[arg(long)]
        material: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Some(Command::Provider { listen, secure, material }) => {
            provide(listen, secure.zip(material.as_deref()))
        }
        Some(Command::Soak { seconds, connections, bin_dir, ports_from, output }) => {
            Subject::start(bin_dir, ports_from, false, false)
                .and_then(|subject| soak::run(&subject, connections, Duration::from_secs(seconds)))
                .and_then(|report| say(&report, output))
        }
        None => run(arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn provide(listen: SocketAddr, secure: Option<(SocketAddr, &Path)>) -> anyhow::Result<()> {
    let secure = secure.map(|(address, folder)| anyhow::Ok((address, Material(folder).acceptor()?)));
    Ok(provider::serve(listen, secure.transpose()?)?)
}

fn say(report: &soak::Report, output: Output) -> anyhow::Result<()> {
    match output {
        Output::Table => report.print(),
        Output::Json => println!("{}", serde_json::to_string_pretty(report)?),
    }
    report.judge()
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("note: this is a build without optimization; measure with `cargo run --release`");
    }
    let most = take_descriptors().map_or(usize::MAX, |most| usize::try_from(most / 2).unwrap_or(usize::MAX));
    let plan = Plan {
        only: arguments.only,
        bound: Duration::from_secs(arguments.seconds),
        connections: arguments.connections,
        streams: arguments.streams,
        most_streams: most.saturating_sub(200),
        keys: arguments.keys,
    };
    if plan.most_streams < plan.streams {
        eprintln!(
            "note: the system lets a process have files for {} streams that take two each",
            plan.most_streams
        );
    }
    let (nginx, http2) = (!arguments.without_nginx, arguments.http2);
    let mut subject = Subject::start(arguments.bin_dir, arguments.ports_from, nginx, http2)?;
    let rows = plan.ways(&subject)?;
    let keys = plan.keys(&mut subject)?;
    drop(subject);
    let targets = targets::judge(&rows, &keys);
    match arguments.output {
        Output::Table => table::print(&rows, &keys, &targets, plan.connections),
        Output::Json => {
            let all = serde_json::json!({"ways": rows, "keys": keys, "targets": targets});
            println!("{}", serde_json::to_string_pretty(&all)?);
        }
    }
    let errors = rows.iter().map(table::errors).sum::<u64>()
        + keys.iter().map(|row| row.requests.errors + row.alone.errors).sum::<u64>();
    anyhow::ensure!(errors == 0, "there were {errors} errors: the figures say nothing");
    Ok(())
}
