//! A whole control plane in one process, and its callers over real connections.

mod authority;
mod enrollment;
mod permission;
mod quota;
mod streams;
mod usage;
mod world;
