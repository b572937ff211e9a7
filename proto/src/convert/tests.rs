use bailiwick_domain::{region::Regions, time::Timestamp};

use super::*;

fn jurisdiction(name: &str) -> Jurisdiction {
    let regions = Regions::builtin();
    Jurisdiction::of(regions.by_name_str(name).expect("a built-in region"))
}

fn event(of: &Jurisdiction) -> UsageEvent {
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
        crate::encoded::append_usage_event(&mut appended, &event);
        assert_eq!(appended[6..], prost::Message::encode_to_vec(&usage_event_to_wire(&event)));
    }
}

#[test]
fn an_event_survives_the_wire() {
    let eu = jurisdiction("eu-central-1");
    let sent = event(&eu);
    let received = usage_event_from_wire(&eu, &usage_event_to_wire(&sent)).expect("a good event");
    assert_eq!(received.into_inner(), sent);
}

#[test]
fn r5_an_event_with_any_foreign_identifier_is_refused() {
    let (eu, us) = (jurisdiction("eu-central-1"), jurisdiction("us-west-1"));
    let (mine, foreign) = (usage_event_to_wire(&event(&eu)), usage_event_to_wire(&event(&us)));
    let smuggled = [
        wire::UsageEvent { organization_id: foreign.organization_id.clone(), ..mine.clone() },
        wire::UsageEvent { key_id: foreign.key_id.clone(), ..mine.clone() },
        wire::UsageEvent { model_id: foreign.model_id.clone(), ..mine.clone() },
        wire::UsageEvent { deployment_id: foreign.deployment_id.clone(), ..mine.clone() },
    ];
    for event in smuggled {
        assert!(matches!(usage_event_from_wire(&eu, &event), Err(ConvertError::Foreign(_))), "{event:?}");
    }
}

#[test]
fn malformed_fields_are_named() {
    let eu = jurisdiction("eu-central-1");
    let good = usage_event_to_wire(&event(&eu));
    let cases = [
        ("event_id", wire::UsageEvent { event_id: vec![1; 15].into(), ..good.clone() }),
        ("request_id", wire::UsageEvent { request_id: vec![].into(), ..good.clone() }),
        ("organization_id", wire::UsageEvent { organization_id: "org".into(), ..good.clone() }),
        ("prompt_tokens", wire::UsageEvent { prompt_tokens: u64::MAX, ..good.clone() }),
        ("cache_write_tokens", wire::UsageEvent { cache_write_tokens: u64::MAX, ..good.clone() }),
        ("images", wire::UsageEvent { images: u64::MAX, ..good.clone() }),
        ("audio_millis", wire::UsageEvent { audio_millis: u64::MAX, ..good.clone() }),
        ("cost_nanos_usd", wire::UsageEvent { cost_nanos_usd: -1, ..good.clone() }),
        ("status", wire::UsageEvent { status: 70_000, ..good.clone() }),
        ("call_type", wire::UsageEvent { call_type: 0, ..good.clone() }),
        ("end", wire::UsageEvent { end: 99, ..good.clone() }),
        ("source", wire::UsageEvent { source: 0, ..good.clone() }),
        ("attempts", wire::UsageEvent { attempts: 70_000, ..good }),
    ];
    for (field, event) in cases {
        match usage_event_from_wire(&eu, &event) {
            Err(ConvertError::Field { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{field}: {other:?}"),
        }
    }
}
