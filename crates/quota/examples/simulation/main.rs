//! How well leases share a limit, in figures: `cargo run -p bailiwick-quota --example simulation`.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "a program of the workshop, not of production"
)]

#[path = "../../tests/support/accounts.rs"]
mod accounts;
mod convergence;
mod scenario;
mod table;
mod world;

fn main() {
    table::print();
}
