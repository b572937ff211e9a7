//! The data-plane worker of a region.

mod backoff;
mod enrollment;
mod metering;
mod settings;
mod snapshot;

fn main() {}
