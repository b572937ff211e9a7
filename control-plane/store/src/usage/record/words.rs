//! Words, as one number each.

use bailiwick_domain::usage::{CallEnd, CallType, UsageSource};

/// A word is stored as its place here, from 1. Places are never given anew: what is new comes last.
pub(super) const CALL_TYPES: &[CallType] = &[
    CallType::ChatCompletion,
    CallType::Completion,
    CallType::Embedding,
    CallType::Response,
    CallType::Message,
    CallType::TokenCount,
    CallType::Image,
    CallType::Speech,
    CallType::Moderation,
    CallType::Transcription,
    CallType::AudioTranslation,
];
pub(super) const ENDS: &[CallEnd] = &[
    CallEnd::Completed,
    CallEnd::CallerLeft,
    CallEnd::ProviderFailed,
    CallEnd::TimedOut,
    CallEnd::Interrupted,
];
pub(super) const SOURCES: &[UsageSource] =
    &[UsageSource::ProviderFinal, UsageSource::Partial, UsageSource::Estimated];

/// Ends and sources share a byte.
const _: () = assert!(ENDS.len() < 16 && SOURCES.len() < 16);

pub(super) fn place<T: Copy + PartialEq>(words: &[T], word: T) -> u8 {
    let place = words.iter().position(|known| *known == word);
    place.and_then(|place| u8::try_from(place + 1).ok()).unwrap_or_default()
}

/// `None`: no word has this place.
pub(super) fn word<T: Copy>(words: &[T], place: u8) -> Option<T> {
    words.get(usize::from(place).checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A word that is in none of the lists would be stored as none.
    #[test]
    fn every_word_has_a_place() {
        fn check<T: Copy + PartialEq + std::fmt::Debug>(all: &[T], words: &[T]) {
            assert_eq!(all.len(), words.len());
            for known in all {
                assert_eq!(word(words, place(words, *known)), Some(*known));
            }
        }
        check(CallType::ALL, CALL_TYPES);
        check(CallEnd::ALL, ENDS);
        check(UsageSource::ALL, SOURCES);
    }
}
