//! The contract between the processes of a region, and with callers of the admin API.
//!
//! The `.proto` files beside this crate are normative: their comments give units, bounds and errors. What is written by hand
//! here turns wire types into domain types and fails closed: [`convert`] admits every identifier, [`status`] gives errors
//! their rich details, [`digest`] is the arithmetic of the configuration log, and `redacted` keeps secrets out of `Debug`.
#![warn(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod convert;
pub mod digest;
pub mod encoded;
pub mod raw;
mod redacted;
pub mod status;

/// The descriptors of every service, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("bailiwick");

/// Resources that workers hold.
pub mod config {
    /// Version 1.
    #[allow(missing_docs, clippy::all, reason = "generated")]
    pub mod v1 {
        tonic::include_proto!("bailiwick.config.v1");
    }
}

/// The admin API.
pub mod admin {
    /// Version 1.
    #[allow(missing_docs, clippy::all, reason = "generated")]
    pub mod v1 {
        tonic::include_proto!("bailiwick.admin.v1");
    }
}

/// The API for workers and routers.
pub mod worker {
    /// Version 1.
    #[allow(missing_docs, clippy::all, reason = "generated")]
    pub mod v1 {
        tonic::include_proto!("bailiwick.worker.v1");

        pub use crate::encoded::ReportRequest;
    }
}
