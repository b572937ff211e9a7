use bailiwick_domain::{
    jurisdiction::Jurisdiction,
    key::ApiKey,
    money::NanoUsd,
    price::{MediaCounts, TokenCounts},
    region::Regions,
    time::Timestamp,
    usage::{CallEnd, CallType, EventId, RequestId, UsageSource},
};
use proptest::prelude::*;

use super::*;

/// Events of two organizations in some milliseconds around the end of a span. Some come twice, and differ in what they cost.
fn any_batch() -> impl Strategy<Value = Vec<Local<UsageEvent>>> {
    let home = Jurisdiction::of(Regions::builtin().by_name_str("eu-central-1").expect("a built-in region"));
    let span_ends = 1_790_000_000_000_i64 / 1024 * 1024 * 1000;
    let organizations = [0, 1].map(|_| home.mint_random(Timestamp::default()).into_inner());
    let one = UsageEvent {
        event_id: EventId::new(Timestamp::default()),
        request_id: RequestId::random(),
        organization: organizations[0],
        key: ApiKey::generate(home.code()).key_id(),
        model: home.mint_random(Timestamp::default()).into_inner(),
        deployment: home.mint_random(Timestamp::default()).into_inner(),
        call_type: CallType::Completion,
        stream: false,
        status: 200,
        end: CallEnd::Completed,
        source: UsageSource::ProviderFinal,
        tokens: TokenCounts::default(),
        media: MediaCounts::default(),
        cost: NanoUsd::default(),
        priced: true,
        started: Timestamp::default(),
        first_byte: None,
        finished: Timestamp::default(),
        attempts: 1,
    };
    let ids: Vec<_> = (-3..3_i64)
        .flat_map(|millis| [0, 1].map(|_| EventId::new(Timestamp::from_micros(span_ends + millis * 1000))))
        .collect();
    prop::collection::vec((prop::sample::select(ids), any::<bool>(), 0_i64..1000), 0..50).prop_map(
        move |events| {
            let of = |(event_id, other, cost): (EventId, bool, i64)| {
                let organization = organizations[usize::from(other)];
                let event = UsageEvent { event_id, organization, cost: NanoUsd::from_nanos(cost), ..one };
                home.admit(event).expect("of this region")
            };
            events.into_iter().map(of).collect()
        },
    )
}

proptest! {
    #[test]
    fn events_stand_by_organization_and_identifier_and_the_first_of_a_name_wins(batch in any_batch()) {
        let ordered = ordered(&batch);
        let name = |event: &UsageEvent| (event.organization, event.event_id);
        prop_assert!(ordered.is_sorted_by(|one, other| name(one) < name(other)));
        for event in &batch {
            let first = batch.iter().find(|first| name(first) == name(event));
            let kept = ordered.iter().find(|kept| name(kept) == name(event));
            prop_assert_eq!(kept.copied(), first.map(Local::get));
        }
    }

    #[test]
    fn a_run_is_all_that_there_is_of_an_organization_and_a_span(batch in any_batch()) {
        let ordered = ordered(&batch);
        let runs: Vec<_> = block::runs(&ordered).collect();
        prop_assert_eq!(&runs.concat(), &ordered);
        let place = |event: &UsageEvent| (event.organization, event.event_id.span());
        let places: Vec<_> = runs.iter().map(|run| place(run[0])).collect();
        prop_assert!(runs.iter().zip(&places).all(|(run, at)| run.iter().all(|event| place(event) == *at)));
        prop_assert!(places.windows(2).all(|two| two[0] != two[1]));
    }
}
