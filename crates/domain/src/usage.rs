//! R8, by type: a usage event has no field that could carry what was said. There is no free text in it.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use uuid::Uuid;

use crate::{
    id::{DeploymentId, ModelId, OrganizationId},
    jurisdiction::Regional,
    key::KeyId,
    money::NanoUsd,
    price::{MediaCounts, TokenCounts},
    region::RegionCode,
    text::serde_as_text,
    time::Timestamp,
};

/// What one call cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageEvent {
    /// Names the event within its organization; the store keeps one of each.
    pub event_id: EventId,
    /// Names the call, to the caller too.
    pub request_id: RequestId,
    /// Whose call.
    pub organization: OrganizationId,
    /// Made with this key.
    pub key: KeyId,
    /// Public model.
    pub model: ModelId,
    /// Where it was served.
    pub deployment: DeploymentId,
    /// Endpoint.
    pub call_type: CallType,
    /// Whether the caller asked for a stream.
    pub stream: bool,
    /// HTTP status that the caller was answered with.
    pub status: u16,
    /// How it ended.
    pub end: CallEnd,
    /// Where the numbers come from.
    pub source: UsageSource,
    /// Tokens.
    pub tokens: TokenCounts,
    /// What is counted in other units.
    pub media: MediaCounts,
    /// Cost; 0 when no price was known.
    pub cost: NanoUsd,
    /// Whether a price was known for all that it used.
    pub priced: bool,
    /// When the call was admitted.
    pub started: Timestamp,
    /// When the provider's first byte came.
    pub first_byte: Option<Timestamp>,
    /// When it ended.
    pub finished: Timestamp,
    /// Calls to providers that were made for it.
    pub attempts: u16,
}

impl Regional for UsageEvent {
    fn region_code(&self) -> RegionCode {
        self.organization.region_code()
    }
}

/// UUIDv7 (RFC 9562, section 5.7): its first 48 bits are the call's start in milliseconds, so that what is filed by time never depends on when it
/// arrived.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Uuid);

impl EventId {
    /// A new one for a call that starts now.
    pub fn new(now: Timestamp) -> Self {
        // Of one number: ten bytes one by one would be ten.
        let [random @ .., _, _, _, _, _, _] = rand::random::<u128>().to_ne_bytes();
        Self(uuid::Builder::from_unix_timestamp_millis(now.as_millis(), &random).into_uuid())
    }

    /// The time in it, to the millisecond.
    pub fn time(&self) -> Timestamp {
        let [a, b, c, d, e, f, ..] = self.0.into_bytes();
        let millis = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        Timestamp::from_micros(i64::try_from(millis).unwrap_or_default().saturating_mul(1000))
    }

    /// The span of 1024 ms in which the call started: its least and its greatest bytes. Every identifier is of one span, and spans follow each other as identifiers sort. Stores keep events of one span
    /// together.
    pub fn span(&self) -> RangeInclusive<[u8; 16]> {
        let [a, b, c, d, e, ..] = self.0.into_bytes();
        let [mut least, mut greatest] = [[0; 16], [u8::MAX; 16]];
        [least[0], least[1], least[2], least[3], least[4]] = [a, b, c, d, e & !3];
        [greatest[0], greatest[1], greatest[2], greatest[3], greatest[4]] = [a, b, c, d, e | 3];
        least..=greatest
    }

    /// 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Errors: the bytes are no UUID of version 7.
    pub fn from_bytes(bytes: [u8; 16]) -> Result<Self, EventIdError> {
        let uuid = Uuid::from_bytes(bytes);
        let known = uuid.get_version_num() == 7 && uuid.get_variant() == uuid::Variant::RFC4122;
        if known { Ok(Self(uuid)) } else { Err(EventIdError) }
    }
}

impl FromStr for EventId {
    type Err = EventIdError;

    fn from_str(text: &str) -> Result<Self, EventIdError> {
        let id = Self::from_bytes(Uuid::parse_str(text).map_err(|_| EventIdError)?.into_bytes())?;
        // The parser also takes braces, URNs and capitals; one event has one text form here.
        if id.to_string() == text { Ok(id) } else { Err(EventIdError) }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not a UUID of version 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event id is a UUID of version 7")]
pub struct EventIdError;

/// Names a call to everybody concerned: `req_` and 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// A new one, from the thread's generator.
    pub fn random() -> Self {
        // Of one number: sixteen bytes one by one would be sixteen.
        Self(rand::random::<u128>().to_ne_bytes())
    }

    /// 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// From 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The text form, without an allocation.
    pub fn to_ascii(self) -> [u8; 36] {
        let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' - 10 + value };
        let mut text = *b"req_00000000000000000000000000000000";
        let (pairs, _) = text.as_chunks_mut();
        for (pair, byte) in pairs.iter_mut().skip(2).zip(self.0) {
            *pair = [digit(byte >> 4), digit(byte & 15)];
        }
        text
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_ascii()).unwrap_or_default())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RequestId {
    type Err = RequestIdError;

    fn from_str(text: &str) -> Result<Self, RequestIdError> {
        let digits = text.strip_prefix("req_").filter(|rest| rest.len() == 32).ok_or(RequestIdError)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
            return Err(RequestIdError);
        }
        u128::from_str_radix(digits, 16).map(|number| Self(number.to_be_bytes())).map_err(|_| RequestIdError)
    }
}

serde_as_text!(EventId, RequestId);

/// Not a request id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request id is req_ and 32 hexadecimal digits")]
pub struct RequestIdError;

macro_rules! words {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $type {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word that stands for it in answers.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text).ok_or(UnknownWord)
            }
        }
    };
}

words! {
    /// Endpoint of a call.
    CallType {
        /// `/v1/chat/completions`.
        ChatCompletion = "chat.completions",
        /// `/v1/completions`.
        Completion = "completions",
        /// `/v1/embeddings`.
        Embedding = "embeddings",
        /// `/v1/responses`.
        Response = "responses",
        /// `/v1/messages`.
        Message = "messages",
        /// `/v1/messages/count_tokens`.
        TokenCount = "messages.count_tokens",
        /// `/v1/images/generations`.
        Image = "images.generations",
        /// `/v1/audio/speech`.
        Speech = "audio.speech",
        /// `/v1/moderations`.
        Moderation = "moderations",
        /// `/v1/audio/transcriptions`.
        Transcription = "audio.transcriptions",
        /// `/v1/audio/translations`.
        AudioTranslation = "audio.translations",
    }
}

words! {
    /// How a call ended.
    CallEnd {
        /// The provider's answer was passed on whole, whatever its status.
        Completed = "completed",
        /// The caller left first; the provider's call was cancelled.
        CallerLeft = "caller_left",
        /// The provider could not be reached, or broke off.
        ProviderFailed = "provider_failed",
        /// A phase took too long.
        TimedOut = "timed_out",
        /// The worker died; settled from its journal's record of the start.
        Interrupted = "interrupted",
    }
}

words! {
    /// Where a call's numbers come from.
    UsageSource {
        /// The provider's own final count.
        ProviderFinal = "provider_final",
        /// The provider's own count up to where the call was cut.
        Partial = "partial",
        /// Counted here from what had passed, as far as the provider told nothing.
        Estimated = "estimated",
    }
}

/// A word that stands for nothing known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the word is unknown")]
pub struct UnknownWord;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn request_ids_survive_their_text_form(bytes: [u8; 16]) {
            let id = RequestId::from_bytes(bytes);
            prop_assert_eq!(id.to_string().parse::<RequestId>(), Ok(id));
        }

        #[test]
        fn an_event_id_holds_its_time(millis in 0_i64..4_000_000_000_000) {
            let now = Timestamp::from_micros(millis * 1000);
            let id = EventId::new(now);
            prop_assert_eq!(id.time(), now);
            prop_assert_eq!(id.to_string().parse::<EventId>(), Ok(id));
        }

        #[test]
        fn spans_follow_each_other_as_identifiers_sort(millis: [u32; 2]) {
            let [one, other] = millis.map(|millis| EventId::new(Timestamp::from_micros(i64::from(millis) * 1000)));
            let [first, second] = millis.map(|millis| millis / 1024);
            prop_assert!(one.span().contains(one.as_bytes()));
            prop_assert_eq!(one.span() == other.span(), first == second);
            prop_assert_eq!(one.span().end() < other.span().start(), first < second);
        }
    }

    #[test]
    fn other_uuids_are_no_event_ids() {
        assert_eq!(EventId::from_bytes([0; 16]), Err(EventIdError));
        let id = EventId::new(Timestamp::from_micros(1_790_000_000_000_000)).to_string();
        for text in [id.to_uppercase(), format!("{{{id}}}"), format!("urn:uuid:{id}"), id.replace('-', "")] {
            assert_eq!(text.parse::<EventId>(), Err(EventIdError), "{text}");
        }
        let mut other_variant = *id.parse::<EventId>().expect("good").as_bytes();
        other_variant[8] &= 0x3f;
        assert_eq!(EventId::from_bytes(other_variant), Err(EventIdError));
        assert!("req_ABCDEF00000000000000000000000000".parse::<RequestId>().is_err());
        assert!("req_+0000000000000000000000000000000".parse::<RequestId>().is_err());
    }
}
