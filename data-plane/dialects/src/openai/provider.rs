//! A provider that speaks chat completions, for callers who speak something else.

mod answer;
mod request;
mod stream;

pub(crate) use answer::{read_answer, usage_of_chat};
pub(crate) use request::encode;
pub(crate) use stream::ProviderStream;
