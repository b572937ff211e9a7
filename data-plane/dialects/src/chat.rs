//! The form between the dialects: what a chat asks for, what is answered, and the pieces of an answer that comes as a stream.
//!
//! It has a place for everything that two dialects share. What only one has is refused where that one is read.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::failure::Failure;

/// What a caller asks for.
#[derive(Debug, Default)]
pub struct Request<'a> {
    /// The conversation.
    pub messages: Vec<Message<'a>>,
    /// Functions that may be called.
    pub tools: Vec<Tool<'a>>,
    /// Which of them.
    pub tool_choice: Option<ToolChoice<'a>>,
    /// Whether several may be called at once. `None`: as the provider has it.
    pub parallel_tool_calls: Option<bool>,
    /// Form of the answer.
    pub format: Format<'a>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// What ends the answer.
    pub stop: Vec<Cow<'a, str>>,
    /// Tokens of the answer, reasoning included.
    pub max_tokens: Option<u64>,
    /// How much is reasoned.
    pub reasoning: Option<Reasoning>,
    /// How many answers; 0 and 1 are one.
    pub choices: u64,
    /// How many alternatives' probabilities are told for each token; `Some(0)`: the chosen token's alone.
    pub logprobs: Option<u64>,
    /// The caller's own user, for the provider's abuse detection.
    pub end_user: Option<Cow<'a, str>>,
    /// Whether the answer comes in pieces.
    pub stream: bool,
    /// Whether the caller of a stream wants to see usage.
    pub include_usage: bool,
}

/// A message.
#[derive(Debug)]
pub struct Message<'a> {
    /// Whose.
    pub role: Role,
    /// What it is made of.
    pub parts: Vec<Part<'a>>,
}

/// Whose message it is. Results of tools are parts of the user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The application's instructions; OpenAI's `developer` too, since a provider who has only one of them gives it the same weight.
    System,
    /// The user.
    User,
    /// The model.
    Assistant,
}

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'a> {
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media<'a> {
    /// What it is.
    pub kind: MediaKind,
    /// Where it is.
    pub source: Source<'a>,
    /// A file's name.
    pub name: Option<Cow<'a, str>>,
}

/// Kind of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    /// An image.
    Image,
    /// A document.
    Document,
    /// Sound.
    Audio,
}

/// Where media are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source<'a> {
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall<'a> {
    /// Names the call.
    pub id: Cow<'a, str>,
    /// Names the tool.
    pub name: Cow<'a, str>,
    /// JSON, as the model wrote it.
    pub arguments: Cow<'a, str>,
    /// Proves the reasoning that led to it, where the provider ties it to the call.
    pub signature: Option<Cow<'a, str>>,
}

/// The result of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolResult<'a> {
    /// Names the call.
    pub id: Cow<'a, str>,
    /// Text and media.
    pub parts: Vec<Part<'a>>,
    /// Whether the tool failed.
    pub is_error: bool,
}

/// A function that may be called.
#[derive(Debug)]
pub struct Tool<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// What it does.
    pub description: Option<Cow<'a, str>>,
    /// JSON schema of its arguments.
    pub schema: Option<&'a RawValue>,
    /// Whether arguments must follow the schema to the letter.
    pub strict: Option<bool>,
    /// Whether a cache point stands behind it.
    pub cache: Option<bool>,
}

/// Which tools are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice<'a> {
    /// As the model likes.
    Auto,
    /// None.
    None,
    /// One at least.
    Required,
    /// This one.
    Named(Cow<'a, str>),
}

/// Form of an answer.
#[derive(Debug, Default)]
pub enum Format<'a> {
    /// Text.
    #[default]
    Text,
    /// Some JSON object.
    JsonObject,
    /// JSON of a schema.
    JsonSchema {
        /// A label.
        name: Cow<'a, str>,
        /// What it is for.
        description: Option<Cow<'a, str>>,
        /// The schema.
        schema: &'a RawValue,
        /// Whether it must be followed to the letter.
        strict: Option<bool>,
    },
}

/// How tokens are chosen. What has no effect (a penalty of 0) is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sampling {
    /// Randomness.
    pub temperature: Option<f64>,
    /// Nucleus.
    pub top_p: Option<f64>,
    /// Best tokens only.
    pub top_k: Option<u64>,
    /// Against repetition.
    pub frequency_penalty: Option<f64>,
    /// Against staying with a topic.
    pub presence_penalty: Option<f64>,
    /// For the same answer again.
    pub seed: Option<i64>,
}

/// How much is reasoned before the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reasoning {
    /// In words.
    Effort(Effort),
    /// In tokens.
    Budget(u64),
    /// As the model likes, at an effort where one is named.
    Adaptive(Option<Effort>),
}

/// Effort of reasoning, in the dialects' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// No reasoning.
    None,
    /// `minimal`.
    Minimal,
    /// `low`.
    Low,
    /// `medium`.
    Medium,
    /// `high`.
    High,
    /// `xhigh`.
    ExtraHigh,
    /// `max`.
    Max,
}

impl Effort {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::None, Self::Minimal, Self::Low, Self::Medium, Self::High, Self::ExtraHigh, Self::Max];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::ExtraHigh => "xhigh",
            Self::Max => "max",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|effort| effort.as_str() == word)
    }
}

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The provider's name for it.
    pub id: Option<String>,
    /// One or more.
    pub choices: Vec<Choice>,
    /// What it cost.
    pub usage: Option<Usage>,
}

/// One answer of several.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// What was said.
    pub parts: Vec<Part<'static>>,
    /// Why it ended.
    pub finish: Finish,
    /// Probabilities of its tokens.
    pub logprobs: Vec<TokenLogprob>,
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It was complete.
    Stop,
    /// A stop sequence came.
    StopSequence(String),
    /// It reached the most tokens.
    Length,
    /// The context window is full.
    ContextWindow,
    /// A tool is called.
    ToolCalls,
    /// The provider's policy ended it.
    ContentFilter,
}

/// Probability of a token.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprob {
    /// The token's text.
    pub token: String,
    /// Logarithm of its probability.
    pub logprob: f64,
    /// The likeliest ones at its place.
    pub top: Vec<(String, f64)>,
}

/// Tokens of a call, in the counting of one provider made the counting of all: parts are contained in their wholes.
///
/// | | OpenAI, Azure, compatible | Anthropic | Gemini | Bedrock |
/// |---|---|---|---|---|
/// | prompt | `prompt_tokens` | `input_tokens` + both cache counts | `promptTokenCount` + `toolUsePromptTokenCount` | `inputTokens` + both cache counts |
/// | completion | `completion_tokens` | `output_tokens` | `candidatesTokenCount` + `thoughtsTokenCount` | `outputTokens` |
/// | cache read | `prompt_tokens_details.cached_tokens` | `cache_read_input_tokens` | `cachedContentTokenCount` | `cacheReadInputTokens` |
/// | cache write | `prompt_tokens_details.cache_write_tokens` | `cache_creation_input_tokens` | not told | `cacheWriteInputTokens` |
/// | reasoning | `completion_tokens_details.reasoning_tokens` | `output_tokens_details.thinking_tokens` | `thoughtsTokenCount` | not told |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Prompt tokens, cached ones (read and written) included.
    pub prompt: u64,
    /// Completion tokens, reasoning included.
    pub completion: u64,
    /// Part of the prompt: read from the provider's cache.
    pub cache_read: u64,
    /// Part of the prompt: written into the provider's cache.
    pub cache_write: u64,
    /// Part of the completion.
    pub reasoning: u64,
    /// Whether these are the provider's last numbers, or those of a stream so far.
    pub is_final: bool,
}

impl Usage {
    /// Counts go into signed columns; a provider that claims more is not believed.
    const MOST: u64 = 1 << 40;

    /// What is known after a later event of the same stream, which may tell a part of the counts alone (Anthropic's last one tells the completion). Counts grow.
    pub fn updated(self, later: Self) -> Self {
        Self {
            prompt: self.prompt.max(later.prompt),
            completion: self.completion.max(later.completion),
            cache_read: self.cache_read.max(later.cache_read),
            cache_write: self.cache_write.max(later.cache_write),
            reasoning: self.reasoning.max(later.reasoning),
            is_final: later.is_final,
        }
    }

    pub(crate) fn bounded(self) -> Self {
        let prompt = self.prompt.min(Self::MOST);
        let completion = self.completion.min(Self::MOST);
        Self {
            prompt,
            completion,
            cache_read: self.cache_read.min(prompt),
            cache_write: self.cache_write.min(prompt),
            reasoning: self.reasoning.min(completion),
            is_final: self.is_final,
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.prompt.saturating_add(self.completion)
    }
}

/// A piece of an answer that comes as a stream. `choice` counts answers, `tool` the calls of one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    Text {
        choice: u32,
        text: String,
        logprobs: Vec<TokenLogprob>,
    },
    Refusal {
        choice: u32,
        text: String,
    },
    Reasoning {
        choice: u32,
        text: String,
    },
    /// Proves the reasoning that came before it.
    Signature {
        choice: u32,
        signature: String,
    },
    /// Belongs to what comes behind it, and proves no words.
    LoneSignature {
        choice: u32,
        signature: String,
    },
    Redacted {
        choice: u32,
        data: String,
    },
    ToolBegan {
        choice: u32,
        tool: u32,
        id: String,
        name: String,
        signature: Option<String>,
    },
    ToolArguments {
        choice: u32,
        tool: u32,
        json: String,
    },
    Finished {
        choice: u32,
        finish: Finish,
    },
    Usage(Usage),
    Failed(Failure),
    Done,
}

impl Event {
    /// The choice that it is a piece of.
    pub(crate) fn choice(&self) -> Option<u32> {
        match self {
            Self::Text { choice, .. }
            | Self::Refusal { choice, .. }
            | Self::Reasoning { choice, .. }
            | Self::Signature { choice, .. }
            | Self::LoneSignature { choice, .. }
            | Self::Redacted { choice, .. }
            | Self::ToolBegan { choice, .. }
            | Self::ToolArguments { choice, .. }
            | Self::Finished { choice, .. } => Some(*choice),
            Self::Usage(_) | Self::Failed(_) | Self::Done => None,
        }
    }
}

impl<'a> Request<'a> {
    /// The system's messages that stand first, and the rest with neighbours of one role joined.
    pub(crate) fn split(&self) -> (Vec<&Part<'a>>, Vec<(Role, Vec<&Part<'a>>)>) {
        let first = self.messages.iter().take_while(|message| message.role == Role::System).count();
        let (system, rest) = self.messages.split_at_checked(first).unwrap_or((&self.messages, &[]));
        let mut joined: Vec<(Role, Vec<&Part<'a>>)> = Vec::new();
        for message in rest {
            match joined.last_mut() {
                Some((role, parts)) if *role == message.role => parts.extend(&message.parts),
                _ => joined.push((message.role, message.parts.iter().collect())),
            }
        }
        (system.iter().flat_map(|message| &message.parts).collect(), joined)
    }
}
