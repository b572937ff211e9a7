//! What must hold of every reader, whatever bytes it is given: no panic, and the laws below. One file a target.
//!
//! Run by `tests/run fuzz`, guided by coverage (libFuzzer, <https://llvm.org/docs/LibFuzzer.html>), from the seeds in `corpus/`;
//! longer with `BAILIWICK_FUZZ_SECONDS=600 tests/run fuzz`. What was found once lies in `corpus/` too: `cargo test` replays all of
//! it without an engine.

mod answers;
mod client_addresses;
mod configuration_deltas;
mod event_streams;
mod identifiers;
mod keys;
mod requests;
mod tokens;
mod usage;
mod wire_requests;

pub use answers::answers;
pub use client_addresses::client_addresses;
pub use configuration_deltas::configuration_deltas;
pub use event_streams::event_streams;
pub use identifiers::identifiers;
pub use keys::keys;
pub use requests::requests;
pub use tokens::tokens;
pub use usage::usage;
pub use wire_requests::wire_requests;

/// A target by name.
pub type Law = fn(&[u8]);

/// All of them.
pub const ALL: [(&str, Law); 10] = [
    ("identifiers", identifiers),
    ("keys", keys),
    ("requests", requests),
    ("event_streams", event_streams),
    ("usage", usage),
    ("configuration_deltas", configuration_deltas),
    ("client_addresses", client_addresses),
    ("tokens", tokens),
    ("answers", answers),
    ("wire_requests", wire_requests),
];

/// Cuts bytes into pieces, as a network would. The first bytes say where, so that the engine can learn to cut.
fn cut(bytes: &[u8]) -> (&[u8], Vec<&[u8]>) {
    let (places, bytes) = bytes.split_at(bytes.len().min(4));
    let mut pieces = Vec::new();
    let mut rest = bytes;
    for place in places {
        let (piece, after) = rest.split_at(usize::from(*place).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    (bytes, pieces)
}
