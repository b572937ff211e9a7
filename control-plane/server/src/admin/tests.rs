//! The admin API as its callers meet it: over mutual TLS, on a store in a folder of its own.

mod accounts;
mod allowed_ranges;
mod audit;
mod coverage;
mod idempotency;
mod input;
mod limits;
mod models;
mod prices;
mod raw;
mod residency;
mod sealing;
mod service_accounts;
mod signup;
mod tokens;
mod usage;
mod world;
