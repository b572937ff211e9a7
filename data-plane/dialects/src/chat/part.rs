//! What messages and answers are made of.

use std::borrow::Cow;

/// Begins signatures that Gemini made. Those without are Anthropic's, made by itself or in Bedrock. A provider refuses another's, so after a fallback they are
/// left out: without its signature, earlier reasoning has no effect.
pub(crate) const GEMINI_SIGNATURE: &str = "gemini:";

/// The signature, where Anthropic's models made it.
pub(crate) fn anthropic_signature<'a>(signature: &'a Option<Cow<'_, str>>) -> Option<&'a str> {
    signature.as_deref().filter(|signature| !signature.starts_with(GEMINI_SIGNATURE))
}

/// The signature, where Gemini made it, as Gemini made it.
pub(crate) fn gemini_signature<'a>(signature: &'a Option<Cow<'_, str>>) -> Option<&'a str> {
    signature.as_deref().and_then(|signature| signature.strip_prefix(GEMINI_SIGNATURE))
}

/// A part of a message or of an answer.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// An image, a document, or sound.
    Media(Media<'a>),
    /// The model calls a tool.
    ToolCall(ToolCall<'a>),
    /// What the tool gave.
    ToolResult(ToolResult<'a>),
    /// The model's reasoning, with the signature that proves it to its provider.
    Reasoning {
        /// Readable; may be empty where there is only a signature.
        text: Cow<'a, str>,
        /// Opaque.
        signature: Option<Cow<'a, str>>,
    },
    /// Reasoning that only the provider can read.
    Redacted(Cow<'a, str>),
    /// The model's refusal, in words.
    Refusal(Cow<'a, str>),
    /// Behind this, the prompt so far may be kept in the provider's cache. No effect on the answer: dropped where caches are automatic.
    CachePoint {
        /// Kept for an hour; otherwise for five minutes.
        hour: bool,
    },
}

/// What is not text.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Media<'a> {
    /// What it is.
    pub(crate) kind: MediaKind,
    /// Where it is.
    pub(crate) source: Source<'a>,
    /// A file's name.
    pub(crate) name: Option<Cow<'a, str>>,
}

/// Kind of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MediaKind {
    /// An image.
    Image,
    /// A document.
    Document,
    /// Sound.
    Audio,
}

/// Where media are.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Source<'a> {
    /// Here, in base64.
    Inline {
        /// Such as `image/png`.
        media_type: Cow<'a, str>,
        /// Base64.
        data: Cow<'a, str>,
    },
    /// Here, as plain text.
    PlainText(Cow<'a, str>),
    /// Somewhere else; the provider fetches it.
    Url(Cow<'a, str>),
}

/// A call of a tool.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ToolCall<'a> {
    /// Names the call.
    pub(crate) id: Cow<'a, str>,
    /// Names the tool.
    pub(crate) name: Cow<'a, str>,
    /// JSON, as the model wrote it.
    pub(crate) arguments: Cow<'a, str>,
    /// Proves the reasoning that led to it, where the provider ties it to the call.
    pub(crate) signature: Option<Cow<'a, str>>,
}

/// The result of a call.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ToolResult<'a> {
    /// Names the call.
    pub(crate) id: Cow<'a, str>,
    /// Text and media.
    pub(crate) parts: Vec<Part<'a>>,
    /// Whether the tool failed.
    pub(crate) is_error: bool,
}
