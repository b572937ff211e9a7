//! Calls of methods by their descriptors, see [`bailiwick_proto::raw`].

use bytes::Bytes;
use tonic::{Status, transport::Channel};

pub(super) use bailiwick_proto::raw::{Method, TextField, message};

/// Every method of the services that `wanted` names; there must be some.
pub(super) fn methods(wanted: impl Fn(&str) -> bool) -> Vec<Method> {
    let found = bailiwick_proto::raw::methods(wanted).expect("descriptors");
    assert!(!found.is_empty(), "no such service");
    found
}

/// Calls a method; what it answers is not looked at.
pub(super) async fn call(channel: Channel, path: &str, message: Bytes) -> Result<(), Status> {
    bailiwick_proto::raw::call(channel, path, message).await.map(drop)
}
