//! Calls through a gateway that really serves, to providers that misbehave as told.

mod addresses;
mod answers;
mod cuts;
mod dialects;
mod http2;
mod limits;
mod models;
mod provider;
mod refusals;
mod residency;
mod signing;
mod streams;
mod tokens;
mod uploads;
mod world;

/// A request for a whole answer.
const PLAIN: &str = r#"{"messages":[{"content":"canary"}],"model":"public"}"#;
/// A request for a stream that does not ask for usage.
const STREAM: &str = r#"{"model":"public","stream":true,"messages":["canary"]}"#;
/// A request for a stream that asks for usage.
const STREAM_WITH_USAGE: &str = r#"{"model":"public","stream":true,"stream_options":{"include_usage":true}}"#;

const ANSWER: &str =
    r#"{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":7,"completion_tokens":5}}"#;

/// The base URL of an address.
fn at(provider: &provider::Provider) -> String {
    format!("http://{}/v1", provider.address)
}
