//! The control plane of one region.
mod configuration;
mod metrics;
mod own_identity;
mod region;
mod settings;
mod tasks;
mod worker;
fn main() {}
