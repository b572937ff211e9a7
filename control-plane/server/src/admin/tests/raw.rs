//! Calls of methods by their descriptors: a method that is added to the contract is tried without anyone having to think of it.

use bailiwick_proto::FILE_DESCRIPTOR_SET;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet, field_descriptor_proto::Type};
use tonic::{
    Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::Channel,
};

/// A method, and the fields of text in its request.
pub(super) struct Method {
    pub(super) path: String,
    pub(super) name: String,
    pub(super) fields: Vec<FieldDescriptorProto>,
}

/// Every method of the services that `wanted` names by package and service, e.g. `bailiwick.admin.v1.KeyService`.
pub(super) fn methods(wanted: impl Fn(&str) -> bool) -> Vec<Method> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("descriptors");
    let message = |name: &str| -> DescriptorProto {
        let all = set.file.iter().flat_map(|file| {
            file.message_type
                .iter()
                .map(move |message| (format!(".{}.{}", file.package(), message.name()), message))
        });
        all.into_iter().find(|(full, _)| full == name).expect("a message").1.clone()
    };
    let mut found = Vec::new();
    for file in &set.file {
        for service in &file.service {
            let service_name = format!("{}.{}", file.package(), service.name());
            for method in service.method.iter().filter(|_| wanted(&service_name)) {
                found.push(Method {
                    path: format!("/{service_name}/{}", method.name()),
                    name: method.name().to_owned(),
                    fields: message(method.input_type())
                        .field
                        .into_iter()
                        .filter(|field| field.r#type() == Type::String)
                        .collect(),
                });
            }
        }
    }
    assert!(!found.is_empty(), "no such service");
    found
}

/// A message of these texts. One entry of a repeated field is written like a single one.
pub(super) fn message<'a>(texts: impl IntoIterator<Item = (&'a FieldDescriptorProto, String)>) -> Bytes {
    let mut message = BytesMut::new();
    for (field, text) in texts {
        let tag = u32::try_from(field.number()).expect("a tag");
        prost::encoding::string::encode(tag, &text, &mut message);
    }
    message.freeze()
}

/// Calls a method with a message that is encoded already.
pub(super) async fn call(channel: Channel, path: &str, message: Bytes) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path: PathAndQuery = path.parse().expect("a path");
    client.unary(Request::new(message), path, Encoded).await.map(drop)
}

#[derive(Default)]
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
