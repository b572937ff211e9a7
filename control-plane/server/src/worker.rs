//! The API for workers and routers: one file for each gRPC service.
//!
//! Who may call what is said once, in [`router`](crate::app), by a permission before each service; the services
//! themselves only turn messages into calls of use cases and answers into messages.

pub(crate) mod attendance;
pub(crate) mod configuration;
pub(crate) mod discovery;
pub(crate) mod enrollment;
pub(crate) mod membership;
pub(crate) mod quota;
pub(crate) mod renewal;
pub(crate) mod trust;
pub(crate) mod usage;
