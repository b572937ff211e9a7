//! The tables.

use bailiwick_quota::limit::Measure;
use comfy_table::{Table, presets::ASCII_MARKDOWN};

use crate::{
    accounts::limit,
    scenario::{Calls, Demand, Outcomes, REQUESTS, Scenario, scenario},
    world::run,
};

const FLEETS: [usize; 5] = [1, 2, 8, 32, 200];
const TOKENS: Calls =
    Calls { least_units: 500, most_units: 8_000, least_used_percent: 10, longest_micros: 20_000_000 };
const PARALLEL: Calls =
    Calls { least_units: 1, most_units: 1, least_used_percent: 100, longest_micros: 4_000_000 };

/// Prints all of them.
pub(crate) fn print() {
    println!(
        "6000 requests per minute, 5 ms one way, 3 minutes; demand of 150 % of the limit, and of 40 % for the last columns\n"
    );
    let mut table = new_table();
    for workers in FLEETS {
        for demand in Demand::ALL {
            let pressed = run(&scenario(workers, demand, 6_000, 150));
            let easy = run(&scenario(workers, demand, 6_000, 40));
            table.add_row(row(&[workers.to_string(), name(demand).to_owned()], &pressed, &easy));
        }
    }
    println!("{table}\n\nThe same with other latencies, 32 workers\n");
    print_latencies();
    println!("\n\nOther limits and sizes of calls, zipf\n");
    print_limits();
    println!(
        "\n\nThe control plane out of reach from the 40th second to the 160th; demand in percent of the limit\n"
    );
    print_outages();
}

fn print_latencies() {
    let mut table = new_table();
    for (millis, demand) in
        [1, 20, 50].into_iter().flat_map(|ms| [Demand::Zipf, Demand::Moving].map(|d| (ms, d)))
    {
        let with =
            |percent| Scenario { latency_micros: millis * 1000, ..scenario(32, demand, 6_000, percent) };
        let name = [format!("32, {millis} ms"), name(demand).to_owned()];
        table.add_row(row(&name, &run(&with(150)), &run(&with(40))));
    }
    println!("{table}");
}

fn print_limits() {
    let mut table = new_table();
    let kinds = [
        ("20 requests", Measure::RequestsPerMinute, 20, REQUESTS, 1),
        ("600 requests", Measure::RequestsPerMinute, 600, REQUESTS, 1),
        ("60000 requests", Measure::RequestsPerMinute, 60_000, REQUESTS, 1),
        ("2 M tokens", Measure::TokensPerMinute, 2_000_000, TOKENS, 2_300),
        ("300 parallel", Measure::ParallelRequests, 300, PARALLEL, 0),
    ];
    for (name, measure, amount, calls, mean_units) in kinds {
        for workers in [8, 200] {
            let (limit, account) = limit(measure, amount);
            let per_minute = |percent: u64| match mean_units {
                // Each lasts two seconds.
                0 => amount * 30 * percent / 100,
                mean => amount * percent / mean / 100,
            };
            let with = |percent| Scenario {
                limit,
                account,
                calls,
                calls_per_minute: per_minute(percent),
                ..scenario(workers, Demand::Zipf, amount, percent)
            };
            let name = [workers.to_string(), name.to_owned()];
            table.add_row(row(&name, &run(&with(150)), &run(&with(40))));
        }
    }
    println!("{table}");
}

fn print_outages() {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(["workers", "demand", "of the limit", "over-admitted", "served during the outage"]);
    for workers in FLEETS {
        for (demand, percent) in
            [(Demand::Even, 20), (Demand::Zipf, 20), (Demand::Zipf, 100), (Demand::Moving, 20)]
        {
            let with = Scenario { outage: Some((40, 160)), ..scenario(workers, demand, 6_000, percent) };
            let outcomes = run(&with);
            table.add_row([
                workers.to_string(),
                name(demand).to_owned(),
                format!("{percent} %"),
                outcomes.over_admitted.to_string(),
                share(outcomes.outage_admitted, outcomes.outage_asked),
            ]);
        }
    }
    println!("{table}");
}

fn new_table() -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header([
        "workers",
        "demand",
        "over-admitted",
        "refused below 5 %",
        "50 %",
        "95 %",
        "100 %",
        "used at the first refusal",
        "calls that waited",
        "longest wait",
        "settled after a shift",
        "messages/s",
        "transactions/s",
    ]);
    table
}

fn row(name: &[String; 2], pressed: &Outcomes, easy: &Outcomes) -> Vec<String> {
    let mut cells = name.to_vec();
    cells.push(pressed.over_admitted.max(easy.over_admitted).to_string());
    for band in 0..4 {
        let refused = pressed.refused_below[band] + easy.refused_below[band];
        cells.push(share(refused, pressed.came_below[band] + easy.came_below[band]));
    }
    let first = pressed.first_refusal_permille.into_iter().chain(easy.first_refusal_permille).min();
    cells.push(
        first.map_or_else(|| "-".to_owned(), |permille| format!("{}.{} %", permille / 10, permille % 10)),
    );
    cells.push(share(easy.waited, easy.asked));
    cells.push(format!("{} ms", easy.longest_wait_micros.max(pressed.longest_wait_micros) / 1000));
    let settled = easy.converged_after_micros;
    cells.push(settled.map_or_else(
        || "not".to_owned(),
        |micros| format!("{}.{} s", micros / 1_000_000, micros / 100_000 % 10),
    ));
    cells.push((easy.messages / easy.seconds).to_string());
    cells.push((easy.transactions / easy.seconds).to_string());
    cells
}

fn share(part: u64, of: u64) -> String {
    match (part, of) {
        (0, _) => "0".to_owned(),
        (part, of) => format!("{:.2} %", part as f64 * 100.0 / of.max(1) as f64),
    }
}

fn name(demand: Demand) -> &'static str {
    match demand {
        Demand::Even => "even",
        Demand::Zipf => "zipf",
        Demand::One => "one worker",
        Demand::Moving => "moving hot spot",
        Demand::Burst => "bursts",
    }
}
