//! The table, for people.

use crate::{
    load::Figures,
    measure::{KeysRow, Row},
    targets::Target,
};

const MIB: f64 = (1 << 20) as f64;

/// A line of the table: what it says, and how it is found in a way's figures.
type Line<'a> = (String, Box<dyn Fn(&Row) -> Option<f64> + 'a>, usize);

/// Prints it.
pub fn print(rows: &[Row], keys: &[KeysRow], targets: &[Target], connections: usize) {
    let shown = lines(rows, connections);
    let shown = shown.iter().filter(|(_, of, _)| rows.iter().any(|row| of(row).is_some()));
    let shown: Vec<_> = shown.collect();
    // Errors are counted always.
    if shown.len() > 1 {
        let heads: String = rows.iter().map(|row| format!("{:>17}", row.through)).collect();
        println!("{:<44}{heads}", "");
        for (name, of, digits) in shown {
            let cells: String = rows.iter().map(|row| cell(of(row), *digits)).collect();
            println!("{name:<44}{cells}");
        }
    }
    if let Some(first) = keys.first() {
        println!(
            "\n{:<14}{:>12}{:>12}{:>10}{:>14}{:>12}{:>14}",
            "worker, keys", "requests/s", "× fewest", "p50 µs", "memory MiB", "bytes/key", "to serving s"
        );
        for row in keys {
            let more = row.memory_bytes.saturating_sub(first.memory_bytes) as f64;
            let per_key = (row.keys > first.keys).then(|| more / (row.keys - first.keys) as f64);
            println!(
                "{:<14}{:>12.0}{:>12.2}{:>10.0}{:>14.1}{:>12}{:>14.2}",
                row.keys,
                row.requests.requests_per_second,
                row.requests.requests_per_second / first.requests.requests_per_second,
                row.alone.p50_micros,
                row.memory_bytes as f64 / MIB,
                per_key.map_or_else(|| "-".to_owned(), |bytes| format!("{bytes:.0}")),
                row.start_seconds
            );
        }
    }
    if !targets.is_empty() {
        println!("\n{:<58}{:>10}{:>10}", "to be reached", "wanted", "found");
        for Target { what, wanted, found, met } in targets {
            println!("{what:<58}{wanted:>10}{found:>10.2}  {}", if *met { "met" } else { "NOT MET" });
        }
    }
}

fn cell(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| format!("{:>17}", "-"), |value| format!("{value:>17.digits$}"))
}

fn lines(rows: &[Row], connections: usize) -> Vec<Line<'_>> {
    let of = |name: &str| rows.iter().find(move |row| row.through == name);
    let rate = |row: &Row| row.requests.map(|figures| figures.requests_per_second);
    let beside = of("nginx");
    let nginx = beside.and_then(rate);
    let first = of("direct").and_then(|row| row.first_byte_micros);
    let gap = of("direct").and_then(|row| row.gap_micros);
    let mut lines: Vec<Line<'_>> = vec![
        (format!("requests/s, {connections} connections"), Box::new(rate), 0),
        ("  × nginx".to_owned(), Box::new(move |row| Some(rate(row)? / nginx?)), 2),
        ("    standard error of that".to_owned(), Box::new(move |row| error_beside(row, beside?)), 3),
        ("  processor µs a request".to_owned(), Box::new(|row| row.processor_micros), 1),
        ("  memory afterwards, MiB".to_owned(), Box::new(|row| Some(row.memory_bytes? as f64 / MIB)), 1),
    ];
    lines.extend(latencies("one connection", |row| row.alone));
    lines.extend(latencies("at 70 % of its capacity", |row| row.loaded));
    let more: [Line<'_>; 7] = [
        (
            format!("streams/s, {connections} connections"),
            Box::new(|row| Some(row.streams?.requests_per_second)),
            0,
        ),
        ("first byte of a stream, p50 µs".to_owned(), Box::new(|row| row.first_byte_micros), 0),
        ("  added, µs".to_owned(), Box::new(move |row| Some(row.first_byte_micros? - first?)), 0),
        ("gap added between chunks, p99.9 µs".to_owned(), Box::new(|row| row.gap_micros), 0),
        ("  more than directly, µs".to_owned(), Box::new(move |row| Some(row.gap_micros? - gap?)), 0),
        ("idle streams".to_owned(), Box::new(|row| row.idle_streams.map(|streams| streams as f64)), 0),
        ("  memory, MiB".to_owned(), Box::new(|row| Some(row.idle_memory_bytes? as f64 / MIB)), 1),
    ];
    lines.extend(more);
    lines.push(("errors".to_owned(), Box::new(|row| Some(errors(row) as f64)), 0));
    lines
}

/// The standard error of a way's rate beside another's, by the ratios of rounds that followed each other.
fn error_beside(row: &Row, other: &Row) -> Option<f64> {
    let rounds = row.requests_by_rounds.iter().zip(&other.requests_by_rounds);
    let ratios: Vec<f64> = rounds.map(|(rate, other)| rate / other).collect();
    let count = ratios.len() as f64;
    let mean = ratios.iter().sum::<f64>() / count;
    let squares: f64 = ratios.iter().map(|ratio| (ratio - mean).powi(2)).sum();
    (ratios.len() > 1).then(|| (squares / (count - 1.0) / count).sqrt())
}

fn latencies(name: &str, of: fn(&Row) -> Option<Figures>) -> [Line<'static>; 3] {
    [
        (format!("{name}, p50 µs"), Box::new(move |row: &Row| Some(of(row)?.p50_micros)), 0),
        (format!("{name}, p99 µs"), Box::new(move |row: &Row| Some(of(row)?.p99_micros)), 0),
        (format!("{name}, p99.9 µs"), Box::new(move |row: &Row| Some(of(row)?.p999_micros)), 0),
    ]
}

/// Of all measurements of a way.
pub fn errors(row: &Row) -> u64 {
    [row.requests, row.alone, row.loaded, row.streams]
        .into_iter()
        .flatten()
        .map(|figures| figures.errors)
        .sum()
}
