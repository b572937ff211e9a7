//! The control plane of one region.
mod configuration;
fn main() {}
