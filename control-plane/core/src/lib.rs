//! Use cases of a region's control plane, and the ports that they need.
//!
//! This crate knows no SQL, no gRPC and no etcd. Start at [`ports`] for what it needs from outside, and at [`records`] for
//! what it keeps there.

pub mod audit;
pub mod bootstrap;
pub mod configuration;
pub mod enrollment;
pub mod expiry;
pub mod ports;
pub mod process_audit;
pub mod records;
pub mod usage_intake;
