//! Anthropic's messages (<https://docs.claude.com/en/api/messages>), as callers speak them and as Anthropic does.
//!
//! Of what callers may send to another provider:
//!
//! | field | what happens |
//! |---|---|
//! | `model` | replaced by the deployment's |
//! | `metadata.user_id` | OpenAI's `user`; elsewhere no effect on the answer: dropped |
//! | `cache_control` | Bedrock's cache points, where it stands on a block or tool; elsewhere caches are automatic and it has no effect: dropped |
//! | `service_tier`, `speed: standard`, `eager_input_streaming`, `defer_loading: false`, `allowed_callers: ["direct"]`, `thinking.display: summarized` | no effect on the answer: dropped |
//! | `tool_result.is_error` | where there is no such flag, the result's text begins with `Error: ` |
//! | `thinking` and `output_config.effort` | the provider's effort or budget; see each |
//! | tools that Anthropic runs or defines, `container`, `diagnostics`, `inference_geo`, `user_profile_id`, `workspace_id`, citations, files by id | refused |
//!
//! The header `anthropic-beta` is judged by [`crate::passes_anthropic_beta`].

mod caller;
mod provider;

pub(crate) use caller::{CallerStream, decode, decode_count, write};
pub(crate) use provider::{ProviderStream, arguments, check, counts, encode, read_answer, usage_of_message};
