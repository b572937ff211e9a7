//! The data-plane worker of a region.

mod backoff;
mod metering;
mod snapshot;

fn main() {}
