//! OpenAI's responses (<https://platform.openai.com/docs/api-reference/responses>), as callers speak them. Providers that speak them too get them untouched; for
//! the rest they are translated, within one call: nothing is stored, so nothing can be referred to.
//!
//! | field | what happens |
//! |---|---|
//! | `model` | replaced by the deployment's |
//! | `store` | answers are not stored, and say so (`store: false`); `true` is refused |
//! | `user`, `safety_identifier`, `metadata`, `service_tier`, `prompt_cache_…`, `stream_options` | as in chat completions |
//! | `include: reasoning.encrypted_content`, `reasoning.summary`, `truncation: disabled`, `background: false`, `text.verbosity: medium`, `status` and `id` of items, `phase` of messages, annotations of earlier answers | what happens anyway, or has no effect: dropped |
//! | `previous_response_id`, `conversation`, `prompt`, `item_reference`, `background`, tools that OpenAI runs, other values of the above | refused |
//!
//! `encrypted_content` of reasoning carries the provider's signature, or its redacted reasoning; it is opaque to callers, and comes back as it went.

mod answer;
mod request;
mod stream;

pub(crate) use answer::{Item, write};
pub(crate) use request::{decode, echo};
pub(crate) use stream::CallerStream;

/// Begins `encrypted_content` that is a signature.
pub(crate) const SIGNATURE: &str = "signature:";
/// Begins `encrypted_content` that is reasoning which only its provider can read.
pub(crate) const REDACTED: &str = "redacted:";
