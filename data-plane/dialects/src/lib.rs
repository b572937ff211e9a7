//! Translation between callers' dialects and providers': pure, without I/O, clocks or randomness.
//!
//! A call whose caller and provider speak the same goes through the worker untouched ([`support()`] says which). Every other one becomes a request in a form between the dialects (`chat`), and
//! that the provider's; its answer becomes an answer in that form, or a stream of pieces, and that the caller's. Nothing a caller sends is dropped without a
//! word: it is translated, or refused by name ([`Refused`]), or stands in its dialect's table of what has no effect on the answer.
//!
//! Whatever bytes come, from callers or providers, there is no panic; every count and size has a bound ([`limits`]).
//!
//! ```
//! use bailiwick_dialects::{Caller, Context, Dialect, Progress, Target, translate_request};
//!
//! let asked = br#"{"model":"public","messages":[{"role":"user","content":"Hi"}],"stream":true}"#;
//! let target = Target::new(Dialect::Anthropic, "claude-x");
//! let (outgoing, reply) = translate_request(Caller::Chat, asked, &target)?;
//! assert_eq!(outgoing.path_and_query, "/messages");
//!
//! let context = Context { request_id: "req_1", model: "public", created: 1_764_000_000 };
//! let mut stream = reply.translate_stream(&context);
//! let mut out = Vec::new();
//! // Each event as it was cut from the provider's bytes; what is in `out` goes to the caller at once.
//! let data = br#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}"#;
//! assert_eq!(stream.event("content_block_delta", data, &mut out), Progress::Going);
//! assert!(out.starts_with(b"data: {"));
//! // The connection breaks before the provider's last event: the caller is told.
//! assert!(matches!(stream.end(false, &mut out), Progress::Broken(_)));
//! # Ok::<(), bailiwick_dialects::Refused>(())
//! ```
//!
//! Start reading at [`translate_request`]; dialects are `openai`, `responses`, `anthropic`, `gemini` and [`bedrock`].

mod opaque;

mod anthropic;
pub mod bedrock;
mod chat;
mod content;
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

pub use chat::Usage;
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
