//! Anthropic, for callers who speak something else.

mod answer;
mod request;
mod stream;

pub(crate) use answer::{read_answer, usage_of_message};
pub(crate) use request::{arguments, check, counts, encode};
pub(crate) use stream::ProviderStream;
