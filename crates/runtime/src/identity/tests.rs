//! Handshakes over loopback, against certificate authorities made on the spot.

pub(crate) mod authority;
mod handshakes;
mod matrix;
mod reload;
mod revocations;
mod roots;
