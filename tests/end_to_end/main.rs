//! The system as its users meet it: real processes, real TLS, public APIs. A module a topic. Each test has an installation of its own, so
//! that they can be hard on it.

mod addresses;
mod backup;
mod bad_input;
mod canary;
mod certificates;
mod command;
mod crash;
mod credentials;
mod dialects;
mod doors;
mod faults;
mod field_history;
mod guards;
mod hardening;
mod hostile_providers;
mod http2;
mod instructions;
mod isolation;
mod keys;
mod lifecycle;
mod limits;
mod matrix;
mod membership;
mod metering;
mod models;
mod residency;
mod revocation;
mod sdk;
mod service_accounts;
mod soak;
mod streams;
mod transit;
mod uploads;
mod verify;
