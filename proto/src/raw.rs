//! Calls of methods by their descriptors: whoever tries *every* method tries one that is added to the contract without having to
//! think of it. For what attacks the contract: tests, and `bailiwick verify isolation`.

use prost::{
    Message as _,
    bytes::{Buf as _, BufMut as _, Bytes, BytesMut},
};
use prost_types::{DescriptorProto, FileDescriptorSet, field_descriptor_proto::Type};
use tonic::{
    Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::{http::uri::PathAndQuery, tokio_stream},
    transport::Channel,
};

use crate::FILE_DESCRIPTOR_SET;

/// Messages in messages are followed so deep; some contain themselves.
const DEEPEST: usize = 4;

/// A method, and the fields of text in its request.
#[derive(Clone, Debug)]
pub struct Method {
    /// `/bailiwick.admin.v1.KeyService/RevokeKey`.
    pub path: String,
    /// `RevokeKey`.
    pub name: String,
    /// Fields of text, those of the messages in it too.
    pub fields: Vec<TextField>,
}

/// A field that holds text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextField {
    /// Its own name, e.g. `organization_id`.
    pub name: String,
    /// Numbers of the fields that lead to it, its own last.
    pub tags: Vec<u32>,
}

impl TextField {
    /// Whether its text names a region, by itself or within an identifier.
    pub fn names_a_region(&self) -> bool {
        let name = self.name.as_str();
        name == "region" || name == "id" || name.ends_with("_id") || name.ends_with("_ids")
    }
}

/// Every method of the services that `wanted` names by package and service, e.g. `bailiwick.admin.v1.KeyService`.
///
/// # Errors
/// This program was built with descriptors that cannot be read.
pub fn methods(wanted: impl Fn(&str) -> bool) -> Result<Vec<Method>, prost::DecodeError> {
    methods_of(FILE_DESCRIPTOR_SET, wanted)
}

/// The same of other descriptors than ours: health's, reflection's.
///
/// # Errors
/// They cannot be read.
pub fn methods_of(
    descriptors: &[u8],
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Method>, prost::DecodeError> {
    let set = FileDescriptorSet::decode(descriptors)?;
    let mut found = Vec::new();
    for file in &set.file {
        for service in &file.service {
            let service_name = format!("{}.{}", file.package(), service.name());
            for method in service.method.iter().filter(|_| wanted(&service_name)) {
                let mut fields = Vec::new();
                collect(&set, method.input_type(), &[], &mut fields);
                found.push(Method {
                    path: format!("/{service_name}/{}", method.name()),
                    name: method.name().to_owned(),
                    fields,
                });
            }
        }
    }
    Ok(found)
}

fn collect(set: &FileDescriptorSet, message: &str, outer: &[u32], into: &mut Vec<TextField>) {
    let Some(message) = find(set, message).filter(|_| outer.len() < DEEPEST) else { return };
    for field in &message.field {
        let Ok(number) = u32::try_from(field.number()) else { continue };
        let tags = [outer, &[number]].concat();
        match field.r#type() {
            Type::String => into.push(TextField { name: field.name().to_owned(), tags }),
            Type::Message => collect(set, field.type_name(), &tags, into),
            _ => {}
        }
    }
}

/// A message by its full name, `.bailiwick.admin.v1.Key`.
fn find<'a>(set: &'a FileDescriptorSet, name: &str) -> Option<&'a DescriptorProto> {
    set.file.iter().find_map(|file| {
        let short = name.strip_prefix('.')?.strip_prefix(file.package())?.strip_prefix('.')?;
        file.message_type.iter().find(|message| message.name() == short)
    })
}

/// A message of these texts. One entry of a repeated field is written like a single one, and the parts of a message in it one by one: a decoder
/// merges them (<https://protobuf.dev/programming-guides/encoding/#last-one-wins>).
pub fn message<'a>(texts: impl IntoIterator<Item = (&'a TextField, String)>) -> Bytes {
    let mut message = BytesMut::new();
    for (field, text) in texts {
        let Some((own, outer)) = field.tags.split_last() else { continue };
        let mut encoded = BytesMut::new();
        prost::encoding::string::encode(*own, &text, &mut encoded);
        for tag in outer.iter().rev() {
            let inner = encoded.split().freeze();
            prost::encoding::bytes::encode(*tag, &inner, &mut encoded);
        }
        message.put(encoded);
    }
    message.freeze()
}

/// Calls a method with a message that is encoded already, and gives the first message of the answer. Methods that stream are called alike: on the wire, a
/// call without streams is one of one message each way.
///
/// # Errors
/// What the server answers, or what became of the connection.
pub async fn call(channel: Channel, path: &str, message: Bytes) -> Result<Bytes, Status> {
    call_with(channel, path, Request::new(message)).await
}

/// The same with a request that carries metadata.
///
/// # Errors
/// As [`call`].
pub async fn call_with(channel: Channel, path: &str, request: Request<Bytes>) -> Result<Bytes, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let path: PathAndQuery = path.parse().map_err(|_| Status::invalid_argument("not a path"))?;
    let answer = client.streaming(request.map(tokio_stream::once), path, Encoded).await?;
    Ok(answer.into_inner().message().await?.unwrap_or_default())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admin::v1::ListKeysRequest, worker::v1::SubscribeRequest};

    fn method(name: &str) -> Method {
        let all = methods(|service| service.starts_with("bailiwick.")).unwrap();
        all.into_iter().find(|method| method.name == name).unwrap()
    }

    #[test]
    fn a_message_of_texts_is_read_as_if_it_were_generated_also_within_messages() {
        let list = method("ListKeys");
        let encoded = message(list.fields.iter().map(|field| (field, format!("a {}", field.name))));
        let read = ListKeysRequest::decode(encoded).unwrap();
        assert_eq!(read.organization_id, "a organization_id");
        assert_eq!(read.page.unwrap().page_token, "a page_token");
    }

    #[test]
    fn what_contains_a_resource_is_followed_to_its_end() {
        let subscribe = method("Subscribe");
        let region = subscribe.fields.iter().find(|field| field.name == "region").unwrap();
        let read = SubscribeRequest::decode(message([(region, "eu-central-1".to_owned())])).unwrap();
        assert!(format!("{read:?}").contains("eu-central-1"), "{read:?}");
    }
}
