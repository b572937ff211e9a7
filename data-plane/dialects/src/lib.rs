//! Translation between callers' dialects and providers': pure, without I/O, clocks or randomness.
//!
//! A call whose caller and provider speak the same goes through the worker untouched ([`support()`] says which). Every other one becomes a [`chat::Request`], and
//! that the provider's; its answer becomes a [`chat::Answer`], or a stream of pieces, and that the caller's. Nothing a caller sends is dropped without a
//! word: it is translated, or refused by name ([`Refused`]), or stands in its dialect's table of what has no effect on the answer.
//!
//! Whatever bytes come, from callers or providers, there is no panic; every count and size has a bound ([`limits`]).
//!
//! Start reading at [`translate_request`]; dialects are `openai`, `responses`, `anthropic`, `gemini` and [`bedrock`].

mod anthropic;
pub mod bedrock;
pub mod chat;
mod count;
mod failure;
mod fault;
mod fields;
mod gemini;
mod json;
pub mod limits;
mod openai;
mod outgoing;
mod passing;
mod refusal;
mod responses;
mod stream;
mod support;
mod translate;

pub use count::{translate_count, translate_count_answer};
pub use failure::{Class, Failure};
pub use fault::Fault;
pub use outgoing::{
    ANTHROPIC_VERSION, AZURE_API_VERSION, Authentication, Outgoing, Target, passes_anthropic_beta,
};
pub use passing::{Seen, observe, usage_of};
pub use refusal::{Refusal, Refused};
pub use stream::{Progress, StreamTranslator};
pub use support::{Call, Caller, Dialect, Support, support};
pub use translate::{Context, Reply, Translated, translate_request};

#[cfg(test)]
mod tests;
