use bailiwick_domain::{
    money::NanoUsd,
    price::{MediaCounts, TokenCounts},
    region::Regions,
    time::Timestamp,
    usage::{EventId, RequestId},
};

use super::*;

pub(super) fn jurisdiction(name: &str) -> Jurisdiction {
    let regions = Regions::builtin();
    Jurisdiction::of(regions.by_name_str(name).expect("a built-in region"))
}

pub(super) fn event(of: &Jurisdiction) -> UsageEvent {
    let now = Timestamp::from_micros(1_790_000_000_000_000);
    UsageEvent {
        event_id: EventId::new(now),
        request_id: RequestId::random(),
        organization: of.mint_random(now).into_inner(),
        key: bailiwick_domain::key::ApiKey::generate(of.code()).key_id(),
        model: of.mint_random(now).into_inner(),
        deployment: of.mint_random(now).into_inner(),
        call_type: CallType::ChatCompletion,
        stream: true,
        status: 200,
        end: CallEnd::Completed,
        source: UsageSource::ProviderFinal,
        tokens: TokenCounts {
            prompt: 10,
            completion: 5,
            cached_prompt: 2,
            cache_write: 4,
            cache_write_hour: 3,
            reasoning: 1,
        },
        media: MediaCounts { images: 6, audio_millis: 7 },
        cost: NanoUsd::from_nanos(12),
        priced: true,
        started: now,
        first_byte: None,
        finished: now,
        attempts: 1,
    }
}

#[test]
fn an_event_is_encoded_at_once_as_it_is_by_way_of_its_message() {
    let full = event(&jurisdiction("eu-central-1"));
    let at = |micros| Timestamp::from_micros(micros);
    let events = [
        full,
        UsageEvent { first_byte: Some(at(1)), finished: at(i64::MAX), attempts: u16::MAX, status: 0, ..full },
        UsageEvent {
            cost: NanoUsd::from_nanos(i64::MAX),
            started: at(-1),
            first_byte: Some(at(-1)),
            stream: false,
            priced: false,
            ..full
        },
        UsageEvent { tokens: TokenCounts::default(), media: MediaCounts::default(), ..full },
        UsageEvent { call_type: CallType::AudioTranslation, end: CallEnd::Interrupted, ..full },
        UsageEvent { source: UsageSource::Estimated, cost: NanoUsd::default(), ..full },
    ];
    for event in events {
        let mut appended = b"before".to_vec();
        crate::encoded::append_event(&mut appended, &event);
        assert_eq!(appended[6..], prost::Message::encode_to_vec(&usage_event_to_wire(&event, 0)));
        let mut appended = b"before".to_vec();
        crate::encoded::append_asked(&mut appended, &event);
        crate::encoded::append_served(&mut appended, &event);
        assert_eq!(appended[6..], prost::Message::encode_to_vec(&usage_subject_to_wire(&event)));
    }
}
