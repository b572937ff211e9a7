//! What callers and providers speak: which is which here, and how passing bytes are read. Translation itself is in `bailiwick-dialects`.

pub(crate) mod openai;
pub(crate) mod sse;
pub(crate) mod tail;

use bailiwick_dialects::{Call, Dialect, Usage};
use bailiwick_domain::{price::TokenCounts, provider::Provider, usage::CallType};

/// What a provider speaks.
pub(crate) fn of(provider: Provider) -> Dialect {
    match provider {
        Provider::OpenAi => Dialect::OpenAi,
        Provider::OpenAiCompatible => Dialect::OpenAiCompatible,
        Provider::AzureOpenAi => Dialect::AzureOpenAi,
        Provider::Anthropic => Dialect::Anthropic,
        Provider::Gemini => Dialect::Gemini,
        Provider::Vertex => Dialect::Vertex,
        Provider::Bedrock => Dialect::Bedrock,
    }
}

/// The endpoint that a call was made at.
pub(crate) fn call(call_type: CallType) -> Call {
    match call_type {
        CallType::ChatCompletion => Call::ChatCompletions,
        CallType::Completion => Call::Completions,
        CallType::Embedding => Call::Embeddings,
        CallType::Response => Call::Responses,
        CallType::Message => Call::Messages,
        CallType::TokenCount => Call::CountTokens,
        CallType::Image => Call::Images,
        CallType::Speech => Call::Speech,
        CallType::Moderation => Call::Moderations,
    }
}

/// Whether usage stands in its answers as in those of chat completions.
pub(crate) fn tells_as_chat(call_type: CallType) -> bool {
    matches!(call_type, CallType::ChatCompletion | CallType::Completion | CallType::Embedding)
}

/// Tokens, as they are metered.
pub(crate) fn tokens(usage: Usage) -> TokenCounts {
    TokenCounts {
        prompt: usage.prompt,
        completion: usage.completion,
        cached_prompt: usage.cache_read,
        reasoning: usage.reasoning,
    }
}

/// The usage of a whole answer. `None`: it is not a JSON object, so not an answer. `Some(None)`: an answer that does not tell.
pub(crate) fn usage_of(call_type: CallType, body: &[u8]) -> Option<Option<TokenCounts>> {
    match call_type {
        // Sound has no JSON around it.
        CallType::Speech => Some(None),
        // What was counted was not used.
        CallType::TokenCount => openai::usage_of(body).map(|_| Some(TokenCounts::default())),
        _ if tells_as_chat(call_type) => openai::usage_of(body),
        _ => {
            body.trim_ascii_start().strip_prefix(b"{")?;
            bailiwick_dialects::usage_of(call(call_type), body).map(|usage| usage.map(tokens))
        }
    }
}

/// The usage in a captured `usage` object.
pub(crate) fn usage_in(call_type: CallType, object: &[u8]) -> Option<TokenCounts> {
    if tells_as_chat(call_type) {
        return openai::usage_in(object);
    }
    usage_of(call_type, &[br#"{"usage":"#, object, b"}"].concat()).flatten()
}
