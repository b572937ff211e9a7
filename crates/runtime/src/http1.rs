//! HTTP/1.1 (RFC 9112) as bytes: where heads and bodies end, and what they say. Knows no sockets, and takes what comes in whatever pieces it comes.
//!
//! Wherever two readers could take the same bytes for different messages, this one takes them for none: that is how requests are smuggled past one of the two (RFC 9112, section 11.2).

mod body;
mod decoding;
mod fields;
mod head;
mod request;
mod response;
mod section;
pub(crate) mod stock;
pub(crate) mod writing;

pub(crate) use self::head::{content_length, names};
pub use self::{
    body::{Body, Line},
    decoding::{Decoder, put_chunk_size},
    fields::{FieldLines, Fields},
    head::{Framing, end_of_head},
    request::{HeadLimits, IncomingRequest, Received, Refused, RequestReader},
    response::{Begun, IncomingResponse, ResponseReader},
    section::{HeaderSection, is_of_one_hop, is_one_of, text},
};

/// What came is no HTTP/1.1 message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no HTTP/1.1 message")]
pub struct Malformed;
