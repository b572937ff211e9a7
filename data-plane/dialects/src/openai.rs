//! OpenAI's chat completions (<https://platform.openai.com/docs/api-reference/chat>), as callers speak it and as providers do: OpenAI itself, whoever is
//! compatible, and Azure, whose bodies are the same and whose paths differ (`outgoing.rs`).
//!
//! Where both sides speak it, bytes pass untouched; this is for the rest. Of what callers may send:
//!
//! | field | what happens |
//! |---|---|
//! | `model` | replaced by the deployment's |
//! | `user`, `safety_identifier` | Anthropic's `metadata.user_id`; elsewhere no effect on the answer: dropped |
//! | `metadata`, `store: false`, `service_tier: auto` or `default`, `verbosity: medium`, `modalities: ["text"]` | no effect: dropped |
//! | `prompt_cache_key`, `prompt_cache_options`, `prompt_cache_retention` | hints for a cache that others do not have; no effect: dropped |
//! | `stream_options.include_obfuscation` | padding against listeners, whose presence clients must not rely on: dropped |
//! | penalties of 0, `n: 1`, `logit_bias: {}`, `image_url.detail: auto` | defaults, no effect: dropped |
//! | `functions`, `function_call`, custom tools, `allowed_tools`, `audio`, `prediction`, `web_search_options`, `moderation`, other values of the above | refused |
//! | `reasoning_content` of an assistant's message | what `reasoning_details` says again, for readers: dropped |
//!
//! Three fields go beyond the reference, since reasoning must come back with its signature: `reasoning_content` (text to read), `reasoning_details` (`reasoning.text`
//! with `signature`, `reasoning.encrypted` with `data`), and `tool_calls[].extra_content.google.thought_signature`, as Google's own compatible endpoint has it
//! (<https://ai.google.dev/gemini-api/docs/thought-signatures>). An assistant's message that is sent back with them is understood.

mod caller;
mod provider;

pub(crate) use caller::{
    CallerStream, cache_point, decode, detail, effort, end_user, function, json_schema, only, source,
    tool_choice_word, without_account_effect, write,
};
pub(crate) use provider::{ProviderStream, encode, read_answer, usage_of_chat};

/// The last event of a stream.
pub(crate) const DONE: &[u8] = b"[DONE]";
