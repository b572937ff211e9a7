//! Usage as builds wrote it whose records had a fixed length: for tests of what reads them, and of stores that hold them.

use bailiwick_domain::{
    id::OrganizationId,
    money::NanoUsd,
    price::{MediaCounts, TokenCounts},
    time::Timestamp,
    usage::{CallEnd, CallType, UsageEvent, UsageSource},
};

/// Identifier and record of three events; the first two are of one span.
pub(crate) const WRITTEN: &str = include_str!("fixed_records.txt");

/// What the three say, as calls of this organization.
pub(crate) fn events(organization: OrganizationId) -> [UsageEvent; 3] {
    let at = |micros: i64| Timestamp::from_micros(1_790_000_000_000_000 + micros);
    let usual = UsageEvent {
        event_id: "01a0c450-6c00-7a22-93d8-0aff654ccf12".parse().expect("good"),
        request_id: "req_0123456789abcdeffedcba9876543210".parse().expect("good"),
        organization,
        key: "key_euc1_0123456789abcDEF".parse().expect("good"),
        model: "mdl_euc1_01JD0W6KQ4V6J5T6T9N2X8Y3ZC".parse().expect("good"),
        deployment: "dep_euc1_01JD0W6KQ4V6J5T6T9N2X8Y3ZD".parse().expect("good"),
        call_type: CallType::ChatCompletion,
        stream: true,
        status: 200,
        end: CallEnd::Completed,
        source: UsageSource::ProviderFinal,
        tokens: TokenCounts {
            prompt: 1234,
            completion: 567,
            cached_prompt: 1024,
            cache_write: 30,
            cache_write_hour: 4,
            reasoning: 500,
        },
        media: MediaCounts { images: 2, audio_millis: 1500 },
        cost: NanoUsd::from_nanos(1_000_000_007),
        priced: true,
        started: at(123),
        first_byte: Some(at(250_456)),
        finished: at(1_750_789),
        attempts: 1,
    };
    let without_numbers = UsageEvent {
        event_id: "01a0c450-6c01-728d-8770-a84af068e072".parse().expect("good"),
        key: "key_euc1_ZYXWVUTSRQ987654".parse().expect("good"),
        call_type: CallType::AudioTranslation,
        stream: false,
        status: 504,
        end: CallEnd::Interrupted,
        source: UsageSource::Estimated,
        tokens: TokenCounts::default(),
        media: MediaCounts::default(),
        cost: NanoUsd::default(),
        priced: false,
        first_byte: None,
        attempts: 3,
        ..usual
    };
    let greatest = UsageEvent {
        event_id: "01a0c450-73d0-70f9-8d9e-aad18b05c0db".parse().expect("good"),
        status: u16::MAX,
        tokens: TokenCounts { prompt: u64::MAX, ..TokenCounts::default() },
        cost: NanoUsd::from_nanos(i64::MAX),
        started: Timestamp::from_micros(i64::MAX),
        first_byte: Some(Timestamp::from_micros(-1)),
        finished: Timestamp::from_micros(i64::MIN),
        attempts: u16::MAX,
        ..usual
    };
    [usual, without_numbers, greatest]
}
