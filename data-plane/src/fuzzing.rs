//! Not a part of the worker: the root of the library in `tests/fuzz`, which feeds hostile bytes to the worker's readers.
//!
//! It stands here because a module is looked for beside the root that names it. `main.rs` does not name it.

// The readers' own tests are tests of the worker, and are built there.
#![cfg(not(test))]

mod dialects;
mod error;
mod json;
mod request;
mod retry_after;
mod snapshot;
/// What a snapshot holds, and what reads issuers' answers; no issuer is called here.
mod tokens {
    mod exchanged;
    mod failure;
    mod reading;

    pub(crate) use exchanged::{Exchanged, Grant};
    pub(crate) use reading::read;
}

#[path = "../../tests/fuzz/laws/mod.rs"]
pub mod laws;
