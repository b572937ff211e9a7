//! The form between the dialects: what a chat asks for, what is answered, and the pieces of an answer that comes as a stream.
//!
//! It has a place for everything that two dialects share. What only one has is refused where that one is read.

mod answer;
mod part;

use std::borrow::Cow;

use serde_json::value::RawValue;

pub use answer::Usage;

pub(crate) use answer::{Answer, Choice, Event, Finish, TokenLogprob};
pub(crate) use part::{
    GEMINI_SIGNATURE, Media, MediaKind, Part, Source, ToolCall, ToolResult, anthropic_signature,
    gemini_signature,
};

/// What a caller asks for.
#[derive(Default)]
pub(crate) struct Request<'a> {
    /// The conversation.
    pub(crate) messages: Vec<Message<'a>>,
    /// Functions that may be called.
    pub(crate) tools: Vec<Tool<'a>>,
    /// Which of them.
    pub(crate) tool_choice: Option<ToolChoice<'a>>,
    /// Whether several may be called at once. `None`: as the provider has it.
    pub(crate) parallel_tool_calls: Option<bool>,
    /// Form of the answer.
    pub(crate) format: Format<'a>,
    /// How tokens are chosen.
    pub(crate) sampling: Sampling,
    /// What ends the answer.
    pub(crate) stop: Vec<Cow<'a, str>>,
    /// Tokens of the answer, reasoning included.
    pub(crate) max_tokens: Option<u64>,
    /// How much is reasoned.
    pub(crate) reasoning: Option<Reasoning>,
    /// How many answers; 0 and 1 are one.
    pub(crate) choices: u64,
    /// How many alternatives' probabilities are told for each token; `Some(0)`: the chosen token's alone.
    pub(crate) logprobs: Option<u64>,
    /// The caller's own user, for the provider's abuse detection.
    pub(crate) end_user: Option<Cow<'a, str>>,
    /// Whether the answer comes in pieces.
    pub(crate) stream: bool,
    /// Whether the caller of a stream wants to see usage.
    pub(crate) include_usage: bool,
}

/// A message.
pub(crate) struct Message<'a> {
    /// Whose.
    pub(crate) role: Role,
    /// What it is made of.
    pub(crate) parts: Vec<Part<'a>>,
}

/// Whose message it is. Results of tools are parts of the user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The application's instructions; OpenAI's `developer` too, since a provider who has only one of them gives it the same weight.
    System,
    /// The user.
    User,
    /// The model.
    Assistant,
}

/// A function that may be called.
pub(crate) struct Tool<'a> {
    /// Its name.
    pub(crate) name: Cow<'a, str>,
    /// What it does.
    pub(crate) description: Option<Cow<'a, str>>,
    /// JSON schema of its arguments.
    pub(crate) schema: Option<&'a RawValue>,
    /// Whether arguments must follow the schema to the letter.
    pub(crate) strict: Option<bool>,
    /// Whether a cache point stands behind it.
    pub(crate) cache: Option<bool>,
}

/// Which tools are called.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum ToolChoice<'a> {
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
#[derive(Default)]
pub(crate) enum Format<'a> {
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
pub(crate) struct Sampling {
    /// Randomness.
    pub(crate) temperature: Option<f64>,
    /// Nucleus.
    pub(crate) top_p: Option<f64>,
    /// Best tokens only.
    pub(crate) top_k: Option<u64>,
    /// Against repetition.
    pub(crate) frequency_penalty: Option<f64>,
    /// Against staying with a topic.
    pub(crate) presence_penalty: Option<f64>,
    /// For the same answer again.
    pub(crate) seed: Option<i64>,
}

/// How much is reasoned before the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reasoning {
    /// In words.
    Effort(Effort),
    /// In tokens.
    Budget(u64),
    /// As the model likes, at an effort where one is named.
    Adaptive(Option<Effort>),
}

/// Effort of reasoning, in the dialects' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effort {
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
    pub(crate) const ALL: [Self; 7] =
        [Self::None, Self::Minimal, Self::Low, Self::Medium, Self::High, Self::ExtraHigh, Self::Max];

    /// The word for it.
    pub(crate) fn as_str(self) -> &'static str {
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

impl<'a> Request<'a> {
    /// The system's messages that stand first, and the rest with neighbours of one role joined. `counts`: whether a part has an effect with the provider; a message
    /// that has none of those is left out.
    pub(crate) fn split(
        &self,
        counts: impl Fn(&Part<'_>) -> bool,
    ) -> (Vec<&Part<'a>>, Vec<(Role, Vec<&Part<'a>>)>) {
        let first = self.messages.iter().take_while(|message| message.role == Role::System).count();
        let (system, rest) = self.messages.split_at_checked(first).unwrap_or((&self.messages, &[]));
        let mut joined: Vec<(Role, Vec<&Part<'a>>)> = Vec::new();
        for message in rest.iter().filter(|message| message.parts.iter().any(&counts)) {
            match joined.last_mut() {
                Some((role, parts)) if *role == message.role => parts.extend(&message.parts),
                _ => joined.push((message.role, message.parts.iter().collect())),
            }
        }
        (system.iter().flat_map(|message| &message.parts).collect(), joined)
    }
}
