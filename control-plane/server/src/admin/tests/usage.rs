//! What calls cost, as it is told.

use bailiwick_domain::{
    id::OrganizationId,
    key::KeyId,
    money::NanoUsd,
    price::{MediaCounts, TokenCounts},
    spiffe::ProcessRole,
    time::{Clock as _, Timestamp},
    usage::{CallEnd, CallType, EventId, RequestId, UsageEvent, UsageSource},
};
use bailiwick_proto::admin::v1::{
    self as wire, GroupBy, UsageEvent as ToldEvent, UsageRow, usage_service_client::UsageServiceClient,
};

use super::world::World;

const HOUR_MICROS: i64 = 3_600_000_000;

/// A call of 100 prompt and 20 completion tokens; one that failed was not priced.
async fn meter(world: &World, organization: &str, key: &str, started: Timestamp, status: u16) -> EventId {
    let parts = &world.control_plane.parts;
    let (organization, key): (OrganizationId, KeyId) =
        (organization.parse().expect("an id"), key.parse().expect("an id"));
    let event = UsageEvent {
        event_id: EventId::new(started),
        request_id: RequestId::random(),
        organization,
        key,
        model: parts.jurisdiction.mint_random(started).into_inner(),
        deployment: parts.jurisdiction.mint_random(started).into_inner(),
        call_type: CallType::ChatCompletion,
        stream: true,
        status,
        end: if status == 200 { CallEnd::Completed } else { CallEnd::ProviderFailed },
        source: UsageSource::ProviderFinal,
        tokens: TokenCounts {
            prompt: 100,
            completion: 20,
            cached_prompt: 10,
            cache_write: 30,
            cache_write_hour: 4,
            reasoning: 5,
        },
        media: MediaCounts { images: 2, audio_millis: 1500 },
        cost: NanoUsd::from_nanos(7),
        priced: status == 200,
        started,
        first_byte: None,
        finished: started,
        attempts: 1,
    };
    let id = event.event_id;
    let local = parts.jurisdiction.admit(event).expect("of this region");
    assert_eq!(parts.store.usage_insert(&[local]).await.expect("stored").inserted, 1);
    id
}

fn client(world: &World) -> UsageServiceClient<tonic::transport::Channel> {
    UsageServiceClient::new(world.channel(ProcessRole::Operator))
}

async fn rows(world: &World, request: wire::QueryUsageRequest) -> Vec<UsageRow> {
    client(world).query_usage(request).await.expect("told").into_inner().rows
}

#[tokio::test]
async fn usage_is_told_in_total_and_by_what_it_is_grouped() {
    let world = World::new().await;
    let (org, other) = (world.organization().await, world.organization().await);
    let (one, two) =
        (world.key(&org).await.key.expect("told").id, world.key(&org).await.key.expect("told").id);
    let now = world.clock.now();
    let earlier = Timestamp::from_micros(now.as_micros() - 2 * HOUR_MICROS);
    meter(&world, &org, &one, earlier, 200).await;
    meter(&world, &org, &one, now, 200).await;
    let last = meter(&world, &org, &two, Timestamp::from_micros(now.as_micros() + 1000), 502).await;

    let ask = wire::QueryUsageRequest { organization_id: org.clone(), ..Default::default() };
    let total = rows(&world, ask.clone()).await;
    let expected = UsageRow {
        calls: 3,
        failed_calls: 1,
        prompt_tokens: 300,
        completion_tokens: 60,
        cached_prompt_tokens: 30,
        reasoning_tokens: 15,
        cache_write_tokens: 90,
        images: 6,
        audio_millis: 4500,
        cost_nanos_usd: 21,
        unpriced_calls: 1,
        ..Default::default()
    };
    assert_eq!(total, [expected]);

    let by_key = wire::QueryUsageRequest { group_by: vec![GroupBy::Key.into()], ..ask.clone() };
    let mut by_key: Vec<_> =
        rows(&world, by_key).await.into_iter().map(|row| (row.key_id, row.calls)).collect();
    by_key.sort_by_key(|row| std::cmp::Reverse(row.1));
    assert_eq!(by_key, [(one, 2), (two, 1)]);
    let since = wire::QueryUsageRequest {
        from_micros: now.as_micros(),
        group_by: vec![GroupBy::Hour.into()],
        ..ask.clone()
    };
    let calls: u64 = rows(&world, since).await.iter().map(|row| row.calls).sum();
    assert_eq!(calls, 2, "from the start of the hour that the time lies in");

    let list = wire::ListUsageEventsRequest { organization_id: org, page: None };
    let events: Vec<ToldEvent> =
        client(&world).list_usage_events(list).await.expect("told").into_inner().events;
    assert_eq!(events.len(), 3);
    let newest = events.first().expect("one");
    assert_eq!(
        (newest.event_id.as_str(), newest.end.as_str()),
        (last.to_string().as_str(), "provider_failed")
    );

    let ask = wire::QueryUsageRequest { organization_id: other, ..Default::default() };
    assert!(rows(&world, ask).await.iter().all(|row| row.calls == 0), "another organization's");
}

#[tokio::test]
async fn what_a_deleted_organization_used_is_still_told() {
    let world = World::new().await;
    let org = world.organization().await;
    let key = world.key(&org).await.key.expect("told").id;
    meter(&world, &org, &key, world.clock.now(), 200).await;
    let delete = wire::DeleteOrganizationRequest { id: org.clone() };
    world.organizations().delete_organization(delete).await.expect("deleted");
    let ask = wire::QueryUsageRequest { organization_id: org, ..Default::default() };
    assert_eq!(rows(&world, ask).await.first().map(|row| row.calls), Some(1));
}
