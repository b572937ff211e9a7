//! What callers and providers speak: which is which here, and how passing bytes are read. Translation itself is in `bailiwick-dialects`.

pub(crate) mod openai;
pub(crate) mod sse;
pub(crate) mod tail;
mod transcription;

use bailiwick_dialects::{Call, Dialect, Usage};
use bailiwick_domain::{
    price::{MediaCounts, TokenCounts},
    provider::Provider,
    usage::CallType,
};

use http::HeaderName;

use self::tail::UsageFinder;

/// In which header Bedrock says what an error is.
pub(crate) const BEDROCK_ERROR: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// What a provider tells of what a call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) tokens: TokenCounts,
    /// What is counted in other units.
    pub(crate) media: MediaCounts,
}

impl From<TokenCounts> for Told {
    fn from(tokens: TokenCounts) -> Self {
        Self { tokens, media: MediaCounts::default() }
    }
}

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
        CallType::Transcription => Call::Transcriptions,
        CallType::AudioTranslation => Call::AudioTranslations,
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
        cache_write: usage.cache_write,
        cache_write_hour: usage.cache_write_hour,
        reasoning: usage.reasoning,
    }
}

/// What a whole answer tells of what it used. `None`: it is no answer. `Some(None)`: an answer that does not tell.
pub(crate) fn usage_of(call_type: CallType, body: &[u8]) -> Option<Option<Told>> {
    match call_type {
        // Sound has no JSON around it.
        CallType::Speech => Some(None),
        // Nor have subtitles.
        CallType::Transcription | CallType::AudioTranslation => Some(transcription::usage_of(body)),
        // What was counted was not used.
        CallType::TokenCount => openai::usage_of(body).map(|_| Some(Told::default())),
        CallType::Image => {
            let mut finder = UsageFinder::default();
            finder.push(body);
            finder.is_closed().then(|| usage_found(call_type, &finder))
        }
        _ if tells_as_chat(call_type) => openai::usage_of(body).map(|usage| usage.map(Told::from)),
        _ => {
            body.trim_ascii_start().strip_prefix(b"{")?;
            bailiwick_dialects::usage_of(call(call_type), body)
                .map(|usage| usage.map(|usage| tokens(usage).into()))
        }
    }
}

/// What the last event of a transcription's stream tells: it may be seconds instead of tokens. `None`: it is the end of something else.
pub(crate) fn usage_at_end(call_type: CallType, data: &[u8]) -> Option<Option<Told>> {
    let transcribes = matches!(call_type, CallType::Transcription | CallType::AudioTranslation);
    transcribes.then(|| transcription::usage_of(data))
}

/// What an answer tells that has passed a finder.
pub(crate) fn usage_found(call_type: CallType, finder: &UsageFinder) -> Option<Told> {
    let told = finder.found().and_then(|object| usage_in(call_type, object));
    // Images are what they are counted as, also where no usage is told.
    let images = if call_type == CallType::Image { finder.elements() } else { 0 };
    let mut told = if images > 0 { told.unwrap_or_default() } else { told? };
    told.media.images = images;
    Some(told)
}

/// The usage in a captured `usage` object.
fn usage_in(call_type: CallType, object: &[u8]) -> Option<Told> {
    if tells_as_chat(call_type) {
        return openai::usage_in(object).map(Told::from);
    }
    let whole = [br#"{"usage":"#, object, b"}"].concat();
    match call_type {
        CallType::Transcription | CallType::AudioTranslation => transcription::usage_of(&whole),
        _ => {
            bailiwick_dialects::usage_of(call(call_type), &whole).flatten().map(|usage| tokens(usage).into())
        }
    }
}
