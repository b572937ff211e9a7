//! What is answered: whole, or in pieces.

use crate::failure::Failure;

use super::Part;

/// A whole answer.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Answer {
    /// One or more.
    pub(crate) choices: Vec<Choice>,
    /// What it cost.
    pub(crate) usage: Option<Usage>,
}

/// One answer of several.
#[derive(Clone, PartialEq)]
pub(crate) struct Choice {
    /// What was said.
    pub(crate) parts: Vec<Part<'static>>,
    /// Why it ended.
    pub(crate) finish: Finish,
    /// Probabilities of its tokens.
    pub(crate) logprobs: Vec<TokenLogprob>,
}

/// Why an answer ended.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Finish {
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
#[derive(Clone, PartialEq)]
pub(crate) struct TokenLogprob {
    /// The token's text.
    pub(crate) token: String,
    /// Logarithm of its probability.
    pub(crate) logprob: f64,
    /// The likeliest ones at its place.
    pub(crate) top: Vec<(String, f64)>,
}

/// Tokens of a call, in the counting of one provider made the counting of all: parts are contained in their wholes.
///
/// | | OpenAI, Azure, compatible | Anthropic | Gemini | Bedrock |
/// |---|---|---|---|---|
/// | prompt | `prompt_tokens` | `input_tokens` + both cache counts | `promptTokenCount` + `toolUsePromptTokenCount` | `inputTokens` + both cache counts |
/// | completion | `completion_tokens` | `output_tokens` | `candidatesTokenCount` + `thoughtsTokenCount` | `outputTokens` |
/// | cache read | `prompt_tokens_details.cached_tokens` | `cache_read_input_tokens` | `cachedContentTokenCount` | `cacheReadInputTokens` |
/// | cache write | `prompt_tokens_details.cache_write_tokens` | `cache_creation_input_tokens` | not told | `cacheWriteInputTokens` |
/// | of that, for an hour | not told | `cache_creation.ephemeral_1h_input_tokens` | not told | `cacheDetails` of `ttl` `1h` |
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
    /// Part of what was written: kept for an hour rather than minutes.
    pub cache_write_hour: u64,
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
            cache_write_hour: self.cache_write_hour.max(later.cache_write_hour),
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
            cache_write_hour: self.cache_write_hour.min(self.cache_write).min(prompt),
            reasoning: self.reasoning.min(completion),
            is_final: self.is_final,
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.prompt.saturating_add(self.completion)
    }
}

/// A piece of an answer that comes as a stream. `choice` counts answers, `tool` the calls of one.
#[derive(Clone, PartialEq)]
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
