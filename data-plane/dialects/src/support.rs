//! Who speaks what: for each call and provider dialect, whether bytes pass, are translated, or are refused, and why.

use std::fmt;

/// What a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// OpenAI itself (<https://platform.openai.com/docs/api-reference>).
    OpenAi,
    /// Whoever speaks OpenAI's chat completions.
    OpenAiCompatible,
    /// OpenAI's models in Azure.
    AzureOpenAi,
    /// Anthropic (<https://docs.claude.com/en/api/messages>).
    Anthropic,
    /// Gemini in AI Studio (<https://ai.google.dev/api/generate-content>).
    Gemini,
    /// Gemini in Vertex AI.
    Vertex,
    /// Bedrock's Converse (<https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>).
    Bedrock,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::OpenAi,
        Self::OpenAiCompatible,
        Self::AzureOpenAi,
        Self::Anthropic,
        Self::Gemini,
        Self::Vertex,
        Self::Bedrock,
    ];

    /// Its name, as callers read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "OpenAI",
            Self::OpenAiCompatible => "the OpenAI-compatible provider",
            Self::AzureOpenAi => "Azure OpenAI",
            Self::Anthropic => "Anthropic",
            Self::Gemini => "Gemini",
            Self::Vertex => "Vertex AI",
            Self::Bedrock => "Bedrock",
        }
    }

    /// Whether its chat is OpenAI's chat completions.
    pub fn speaks_openai(self) -> bool {
        matches!(self, Self::OpenAi | Self::OpenAiCompatible | Self::AzureOpenAi)
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a caller of a chat speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Caller {
    /// OpenAI's chat completions.
    Chat,
    /// OpenAI's responses.
    Responses,
    /// Anthropic's messages.
    Messages,
}

impl Caller {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Chat, Self::Responses, Self::Messages];

    /// The call that is made in it.
    pub fn call(self) -> Call {
        match self {
            Self::Chat => Call::ChatCompletions,
            Self::Responses => Call::Responses,
            Self::Messages => Call::Messages,
        }
    }
}

/// An endpoint that callers use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// `/v1/chat/completions`.
    ChatCompletions,
    /// `/v1/responses`.
    Responses,
    /// `/v1/messages`.
    Messages,
    /// `/v1/messages/count_tokens`.
    CountTokens,
    /// `/v1/completions`.
    Completions,
    /// `/v1/embeddings`.
    Embeddings,
    /// `/v1/images/generations`.
    Images,
    /// `/v1/audio/speech`.
    Speech,
    /// `/v1/audio/transcriptions`.
    Transcriptions,
    /// `/v1/audio/translations`.
    AudioTranslations,
    /// `/v1/moderations`.
    Moderations,
}

impl Call {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::ChatCompletions,
        Self::Responses,
        Self::Messages,
        Self::CountTokens,
        Self::Completions,
        Self::Embeddings,
        Self::Images,
        Self::Speech,
        Self::Transcriptions,
        Self::AudioTranslations,
        Self::Moderations,
    ];

    /// Its path below `/v1`, with callers and with those providers that speak the same.
    pub fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/chat/completions",
            Self::Responses => "/responses",
            Self::Messages => "/messages",
            Self::CountTokens => "/messages/count_tokens",
            Self::Completions => "/completions",
            Self::Embeddings => "/embeddings",
            Self::Images => "/images/generations",
            Self::Speech => "/audio/speech",
            Self::Transcriptions => "/audio/transcriptions",
            Self::AudioTranslations => "/audio/translations",
            Self::Moderations => "/moderations",
        }
    }

    /// The chat dialect it is made in, where it is a chat.
    pub fn caller(self) -> Option<Caller> {
        Caller::ALL.into_iter().find(|caller| caller.call() == self)
    }

    /// Whether its errors are Anthropic's.
    pub fn is_anthropic(self) -> bool {
        matches!(self, Self::Messages | Self::CountTokens)
    }
}

/// What happens to a call that goes to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Both speak the same: bytes pass untouched, but for `model` in the body, which becomes the deployment's (also where Azure's path names it).
    Same,
    /// It is translated: [`crate::translate_request`], or for [`Call::CountTokens`] [`crate::translate_count`].
    Translated,
    /// It is refused (400), and this is why.
    Refused(&'static str),
}

/// The table.
pub fn support(call: Call, provider: Dialect) -> Support {
    use Support::{Refused, Same, Translated};
    match (call, provider) {
        (Call::ChatCompletions, _) if provider.speaks_openai() => Same,
        // Few of the compatible ones speak it, so it is translated for them.
        (Call::Responses, Dialect::OpenAi | Dialect::AzureOpenAi) => Same,
        (Call::Messages | Call::CountTokens, Dialect::Anthropic) => Same,
        (Call::ChatCompletions | Call::Responses | Call::Messages, _) => Translated,
        (Call::CountTokens, Dialect::Gemini | Dialect::Vertex | Dialect::Bedrock) => Translated,
        (Call::CountTokens, _) => {
            Refused("it counts no tokens in this way; the usage of an answer tells them")
        }
        // Compatible providers differ in what they serve: they say so themselves.
        (_, Dialect::OpenAi | Dialect::OpenAiCompatible) => Same,
        (Call::Moderations, Dialect::AzureOpenAi) => Refused("it has no moderation endpoint"),
        (_, Dialect::AzureOpenAi) => Same,
        (Call::Completions, _) => Refused("it has no text completions; use chat completions"),
        (Call::Embeddings, _) => Refused("embeddings are not translated for it"),
        (Call::Images, _) => Refused("image generation is not translated for it"),
        (Call::Speech, _) => Refused("speech is not translated for it"),
        (Call::Transcriptions | Call::AudioTranslations, _) => {
            Refused("transcription is not translated for it")
        }
        (Call::Moderations, _) => Refused("it has no moderation endpoint"),
    }
}
