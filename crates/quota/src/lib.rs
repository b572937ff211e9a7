//! Quota leases: how the workers of a region share its limits. Pure rules: no I/O, no clock, no randomness of their own.
pub mod allocator;
pub mod holder;
pub mod limit;
pub mod policy;
pub mod protocol;
pub mod window;
