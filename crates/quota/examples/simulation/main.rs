//! How well leases share a limit, in figures: `cargo run -p bailiwick-quota --example simulation`.

#[path = "../../tests/support/mod.rs"]
mod support;
mod table;
mod world;

fn main() {
    table::print();
}
