//! Calls of methods by their descriptors, see [`bailiwick_proto::raw`].

use bailiwick_proto::FILE_DESCRIPTOR_SET;
use bytes::Bytes;
use tonic::{Request, Status, transport::Channel};

pub(super) use bailiwick_proto::raw::{Method, TextField, message};

/// Every method of the services that `wanted` names; there must be some.
pub(super) fn methods(wanted: impl Fn(&str) -> bool) -> Vec<Method> {
    let found = bailiwick_proto::raw::methods(wanted).expect("descriptors");
    assert!(!found.is_empty(), "no such service");
    found
}

/// Every method that this program is made with, also those that are not ours.
pub(super) fn all() -> Vec<Method> {
    let others = [tonic_health::pb::FILE_DESCRIPTOR_SET, tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET];
    let sets = others.into_iter().chain([FILE_DESCRIPTOR_SET]);
    sets.flat_map(|set| bailiwick_proto::raw::methods_of(set, |_| true).expect("descriptors")).collect()
}

/// Calls a method.
pub(super) async fn call(channel: Channel, path: &str, message: Bytes) -> Result<Bytes, Status> {
    bailiwick_proto::raw::call(channel, path, message).await
}

/// Calls a method with a bearer token.
pub(super) async fn call_as(
    channel: Channel,
    token: &str,
    path: &str,
    message: Bytes,
) -> Result<Bytes, Status> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().expect("a header's value");
    request.metadata_mut().insert("authorization", value);
    bailiwick_proto::raw::call_with(channel, path, request).await
}
