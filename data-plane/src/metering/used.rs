//! What a call used: as its provider told it, or as it is estimated where the provider told nothing.

use bailiwick_domain::{
    price::{MediaCounts, TokenCounts},
    usage::{CallType, UsageSource},
};

use crate::{
    dialects::Told,
    estimate::{Passed, Prompt, tokens_by_size},
};

/// What a call used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Used {
    /// Where the numbers come from.
    pub(crate) source: UsageSource,
    /// Tokens.
    pub(crate) tokens: TokenCounts,
    /// What is counted in other units.
    pub(crate) media: MediaCounts,
    /// False: it used something that nobody has told the amount of. Then it has no price, whatever its deployment's is: unknown is not free.
    pub(crate) is_measured: bool,
}

impl Used {
    /// Nothing was used, or nothing of what was is known.
    pub(crate) fn nothing(source: UsageSource) -> Self {
        Self::told(source, Told::default())
    }

    /// As the provider told it.
    pub(crate) fn told(source: UsageSource, told: Told) -> Self {
        Self { source, tokens: told.tokens, media: told.media, is_measured: true }
    }

    /// The final count, where there is one; else it is estimated from what was asked and what passed.
    pub(crate) fn of_answer(
        told: Option<Told>,
        call_type: CallType,
        prompt: &Prompt,
        passed: &Passed,
    ) -> Self {
        match told {
            Some(told) => Self::told(UsageSource::ProviderFinal, told),
            None => Self::estimated(call_type, prompt, passed, None),
        }
    }

    /// A provider was called, and nothing of its answer came. It has read what was asked, and charges for that.
    pub(crate) fn of_no_answer(call_type: CallType, prompt: &Prompt) -> Self {
        Self::estimated(call_type, prompt, &Passed::default(), None)
    }

    /// A provider may have been called, and all that is known is how many bytes it was asked. Of speech, that says what was asked, and not what it cost.
    pub(crate) fn by_size(call_type: CallType, asked_bytes: usize) -> Self {
        let nothing = Self::nothing(UsageSource::Estimated);
        let tokens = TokenCounts { prompt: tokens_by_size(asked_bytes), ..TokenCounts::default() };
        match call_type {
            CallType::TokenCount => nothing,
            CallType::Transcription | CallType::AudioTranslation => Self { is_measured: false, ..nothing },
            CallType::Image | CallType::Speech => Self { tokens, is_measured: false, ..nothing },
            CallType::Embedding
            | CallType::Moderation
            | CallType::ChatCompletion
            | CallType::Completion
            | CallType::Response
            | CallType::Message => Self { tokens, ..nothing },
        }
    }

    /// `told`: what the provider told on the way, of all that had passed before `passed`.
    pub(crate) fn estimated(
        call_type: CallType,
        prompt: &Prompt,
        passed: &Passed,
        told: Option<Told>,
    ) -> Self {
        let known = told.unwrap_or_default();
        if told.is_some() && passed.is_empty() {
            return Self::told(UsageSource::Partial, known);
        }
        let estimated = Self::told(UsageSource::Estimated, known);
        match call_type {
            // What was counted was not used.
            CallType::TokenCount => estimated,
            // How many, or how long, nothing tells.
            CallType::Image | CallType::Transcription | CallType::AudioTranslation => {
                Self { is_measured: false, ..estimated }
            }
            CallType::Speech => {
                let (spoken, audio_millis) = prompt.spoken();
                let tokens = TokenCounts { prompt: prompt.tokens(), completion: spoken, ..known.tokens };
                Self { tokens, media: MediaCounts { audio_millis, ..known.media }, ..estimated }
            }
            CallType::Embedding | CallType::Moderation => {
                let tokens = TokenCounts { prompt: prompt.tokens(), ..known.tokens };
                Self { tokens, ..estimated }
            }
            CallType::ChatCompletion | CallType::Completion | CallType::Response | CallType::Message => {
                let asked = if known.tokens.prompt > 0 { known.tokens.prompt } else { prompt.tokens() };
                let completion = known.tokens.completion.saturating_add(passed.tokens());
                let tokens = TokenCounts { prompt: asked, completion, ..known.tokens };
                Self { tokens, ..estimated }
            }
        }
    }
}
