//! Use cases of a region's control plane, and the ports that they need.
//!
//! This crate knows no SQL, no gRPC and no etcd. Start at [`ports`] for what it needs from outside, and at [`records`] for
//! what it keeps there.

pub mod allowed_ranges;
pub mod audit;
pub mod audit_query;
pub mod authority;
pub mod backup;
pub mod bootstrap;
pub mod caller;
pub mod configuration;
pub mod contract_price;
pub mod control_plane;
pub mod credential;
pub mod deployment;
pub mod destruction;
pub mod enrollment;
pub mod error;
pub mod expiry;
pub mod explain;
pub mod fleet;
pub mod idempotency;
pub mod inspection;
pub mod key;
pub mod limit;
pub mod model;
pub mod organization;
pub mod ports;
pub mod pricing;
pub mod process_audit;
pub mod records;
pub mod region;
mod residency;
pub mod rotation;
pub mod sealed_columns;
pub mod sealing;
pub mod service_account;
pub mod signup;
pub mod token;
pub mod token_key;
pub mod trust;
pub mod usage;
pub mod usage_intake;
