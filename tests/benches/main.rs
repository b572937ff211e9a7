//! Measures, in one run on one machine: directly at a simulated provider, through nginx as a bare proxy, through a worker, and through router and worker. Figures are worth
//! something only beside each other: the load, the provider and what is measured share the processors.

mod load;
mod nginx;
mod subject;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};
use serde::Serialize;

use crate::{
    load::{Figures, Target},
    subject::Subject,
};

/// Requests per second and latencies: directly, through nginx, through a worker, through router and worker.
#[derive(Debug, Parser)]
struct Arguments {
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Connections of the measurement under load.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Folder of the built programs; where this one lies.
    #[arg(long)]
    bin_dir: Option<PathBuf>,
    /// First of the 80 ports that are used.
    #[arg(long, default_value_t = 27_000)]
    ports_from: u16,
    /// Leaves nginx out, and with it the comparison.
    #[arg(long)]
    without_nginx: bool,
    /// What is printed.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// One line of the table.
#[derive(Debug, Serialize)]
struct Row {
    through: &'static str,
    connections: usize,
    /// Of what nginx does with as many connections; of the direct measurement where it was left out.
    times_baseline: f64,
    #[serde(flatten)]
    figures: Figures,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("note: this is a build without optimization; measure with `cargo run --release`");
    }
    let subject = Subject::start(arguments.bin_dir.clone(), arguments.ports_from, !arguments.without_nginx)?;
    let baseline = if arguments.without_nginx { "direct" } else { "nginx" };
    let bound = Duration::from_secs(arguments.seconds);
    let mut rows: Vec<Row> = Vec::new();
    for connections in [arguments.connections, 1] {
        let mut of_these: Vec<(&'static str, Figures)> = Vec::new();
        for (through, target) in subject.targets() {
            eprintln!("measuring {through}, {connections} connections, {} s …", arguments.seconds);
            // Connections are opened and pools are filled before anything counts.
            load::run(&target, connections, Duration::from_secs(1))?;
            let figures = load::run(&target, connections, bound)?;
            of_these.push((through, figures));
        }
        let base = of_these.iter().find(|(through, _)| *through == baseline);
        let base = base.map_or(f64::NAN, |(_, figures)| figures.requests_per_second);
        rows.extend(of_these.into_iter().map(|(through, figures)| {
            let times_baseline = figures.requests_per_second / base;
            Row { through, connections, times_baseline, figures }
        }));
    }
    drop(subject);
    match arguments.output {
        Output::Table => print(&rows, baseline),
        Output::Json => println!("{}", serde_json::to_string_pretty(&rows)?),
    }
    anyhow::ensure!(
        rows.iter().all(|row| row.figures.errors == 0),
        "there were errors: the figures say nothing"
    );
    Ok(())
}

fn print(rows: &[Row], baseline: &str) {
    let times = format!("× {baseline}");
    println!(
        "{:<16} {:>11} {:>11} {:>9} {:>9} {:>9} {:>9} {:>7}",
        "through", "connections", "requests/s", times, "p50 µs", "p99 µs", "p99.9 µs", "errors"
    );
    for row in rows {
        let Figures { requests_per_second, p50_micros, p99_micros, p999_micros, errors } = row.figures;
        println!(
            "{:<16} {:>11} {requests_per_second:>11.0} {:>9.2} {p50_micros:>9} {p99_micros:>9} {p999_micros:>9} {errors:>7}",
            row.through, row.connections, row.times_baseline
        );
    }
}

/// One request, made once: about 1 KB, as a short conversation has.
fn target(address: &str, key: &str, model: &str) -> Target {
    let prompt = "word ".repeat(180);
    let body =
        serde_json::json!({"model": model, "messages": [{"role": "user", "content": prompt}]}).to_string();
    Target { address: address.to_owned(), key: key.to_owned(), body: body.into() }
}
