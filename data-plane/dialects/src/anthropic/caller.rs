//! A caller of messages, for providers that speak something else.

mod answer;
mod request;
mod stream;

pub(crate) use answer::write;
pub(crate) use request::{decode, decode_count};
pub(crate) use stream::CallerStream;
