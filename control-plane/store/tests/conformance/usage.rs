//! R10: usage is counted once.

use std::time::Duration;

use bailiwick_core::{
    ports::store::Store,
    records::{UsageQuery, UsageRow},
};
use bailiwick_domain::{
    jurisdiction::Local,
    key::ApiKey,
    money::NanoUsd,
    organization::OrganizationStatus,
    price::{MediaCounts, TokenCounts},
    time::Timestamp,
    usage::{CallEnd, EventId, UsageEvent, UsageSource},
};
use tokio::task::JoinSet;

use crate::{
    fixture::{Fixture, NOW},
    samples::{Tenant, call_of, mutate, organization, page},
};

const HOUR: Duration = Duration::from_secs(3600);

/// A question over all time that there is.
fn all(tenant: &Tenant) -> UsageQuery {
    UsageQuery {
        organization: tenant.organization.id,
        from: Timestamp::from_micros(0),
        to: Timestamp::from_micros(i64::MAX),
        by_key: false,
        by_model: false,
        by_hour: false,
        page: page(1000, None),
    }
}

async fn rows(fixture: &Fixture, query: &UsageQuery) -> Vec<UsageRow> {
    fixture.store.usage_query(query).await.expect("answers").rows
}

/// Single events, over all organizations.
async fn stored_events(fixture: &Fixture) -> i64 {
    fixture.number("SELECT CAST(SUM(length(event_ids) / 16) AS BIGINT) FROM usage_blocks").await
}

fn changed(
    fixture: &Fixture,
    event: &Local<UsageEvent>,
    change: impl FnOnce(&mut UsageEvent),
) -> Local<UsageEvent> {
    let mut event = *event.get();
    change(&mut event);
    fixture.home.admit(event).expect("of this region")
}

pub(crate) async fn r10_an_event_is_counted_once_however_often_it_is_sent(fixture: &Fixture) {
    let tenant = Tenant::stored(fixture).await;
    let mut events: Vec<_> = (0..1000).map(|_| tenant.call(fixture, NOW)).collect();
    let first = fixture.store.usage_insert(&events).await.expect("stored");
    assert_eq!((first.inserted, first.unknown_organization), (1000, vec![]));
    events.push(tenant.call(fixture, NOW));
    let doubled: Vec<_> = events.iter().chain(&events).copied().collect();
    assert_eq!(fixture.store.usage_insert(&doubled).await.expect("stored").inserted, 1, "only one is new");
    assert_eq!(fixture.store.usage_insert(&[]).await.expect("stored").inserted, 0);
    let expected = UsageRow {
        calls: 1001,
        prompt_tokens: 100_100,
        completion_tokens: 20_020,
        cached_prompt_tokens: 10_010,
        cache_write_tokens: 30_030,
        images: 2_002,
        audio_millis: 1_501_500,
        reasoning_tokens: 5_005,
        cost_nanos_usd: 1001 * 1_000_000_007,
        ..UsageRow::default()
    };
    assert_eq!(rows(fixture, &all(&tenant)).await, vec![expected]);
    assert_eq!(stored_events(fixture).await, 1001);
}

pub(crate) async fn r10_a_batch_of_any_size_is_counted_whole(fixture: &Fixture) {
    let (one, two) = (Tenant::stored(fixture).await, Tenant::stored(fixture).await);
    let mut count = 0;
    for size in [1_usize, 2, 3, 1023, 1024, 1025, 2500] {
        let mut events: Vec<_> =
            (0..size).map(|n| if n % 3 == 0 { &one } else { &two }.call(fixture, NOW)).collect();
        assert_eq!(fixture.store.usage_insert(&events).await.expect("stored").inserted as usize, size);
        // Among as many that are there already, what is new is found, wherever it stands.
        let last = events.len() - 1;
        events[last] = one.call(fixture, NOW);
        events.push(two.call(fixture, NOW));
        assert_eq!(fixture.store.usage_insert(&events).await.expect("stored").inserted, 2);
        count += size as u64 + 2;
    }
    let calls = rows(fixture, &all(&one)).await[0].calls + rows(fixture, &all(&two)).await[0].calls;
    assert_eq!(calls, count);
    assert_eq!(stored_events(fixture).await.unsigned_abs(), count);
}

pub(crate) async fn r10_events_that_come_again_in_other_batches_are_counted_once(fixture: &Fixture) {
    let tenants = [Tenant::stored(fixture).await, Tenant::stored(fixture).await];
    // Calls of four seconds, whose blocks overlap: they come in the order of their ends.
    let mut events: Vec<_> = (0..900_u64)
        .map(|n| {
            let started = NOW.saturating_add(Duration::from_millis(n * 733 % 4000));
            tenants[usize::from(n % 3 == 0)].call(fixture, started)
        })
        .collect();
    let (mut inserted, mut sent) = (0, 0);
    for round in 0..12_usize {
        let from = round * 70;
        let batch: Vec<_> = events.iter().skip(from / 2).take(70 + from / 2).copied().collect();
        let before = sent;
        sent = sent.max(from / 2 + batch.len());
        let new = fixture.store.usage_insert(&batch).await.expect("stored").inserted as usize;
        assert_eq!(new, sent - before, "round {round}");
        inserted += new;
    }
    assert_eq!(fixture.store.usage_insert(&events).await.expect("stored").inserted as usize, 900 - inserted);
    assert_eq!(fixture.store.usage_insert(&events).await.expect("stored").inserted, 0);
    assert_eq!(stored_events(fixture).await, 900);
    assert!(
        fixture.number("SELECT COUNT(*) FROM usage_blocks").await < 300,
        "many events in one row, or there is no use in blocks"
    );

    events.sort_by_key(|event| std::cmp::Reverse(event.event_id));
    for tenant in &tenants {
        let mine = |event: &&Local<UsageEvent>| event.organization == tenant.organization.id.into_inner();
        let mine: Vec<_> = events.iter().filter(mine).copied().collect();
        assert_eq!(rows(fixture, &all(tenant)).await[0].calls, mine.len() as u64);
        for size in [1, 7, 300, 1000] {
            assert_eq!(listed(fixture, tenant, size).await, mine, "in pages of {size}");
        }
    }
}

/// All events of a tenant, in pages of so many.
async fn listed(fixture: &Fixture, tenant: &Tenant, size: u32) -> Vec<Local<UsageEvent>> {
    let (mut seen, mut next) = (Vec::new(), page(size, None));
    loop {
        let answer = fixture.store.usage_event_list(tenant.organization.id, &next).await.expect("lists");
        assert!(answer.rows.len() <= size as usize);
        seen.extend(answer.rows);
        assert!(seen.len() <= 1000, "pages that do not end");
        match answer.next {
            Some(token) => next = page(size, Some(token)),
            None => return seen,
        }
    }
}

pub(crate) async fn r10_no_organizations_event_takes_the_place_of_anothers(fixture: &Fixture) {
    let (one, two) = (Tenant::stored(fixture).await, Tenant::stored(fixture).await);
    let mine = one.call(fixture, NOW);
    let same_name = changed(fixture, &two.call(fixture, NOW), |event| event.event_id = mine.event_id);
    for expected in [2, 0] {
        let inserted = fixture.store.usage_insert(&[mine, same_name]).await.expect("stored").inserted;
        assert_eq!(inserted, expected);
    }
    for tenant in [&one, &two] {
        assert_eq!(rows(fixture, &all(tenant)).await[0].calls, 1);
        let listed = fixture.store.usage_event_list(tenant.organization.id, &page(10, None)).await;
        assert_eq!(listed.expect("lists").rows.len(), 1);
    }
}

pub(crate) async fn r10_concurrent_duplicate_batches_count_once(fixture: &Fixture) {
    let (one, two) = (Tenant::stored(fixture).await, Tenant::stored(fixture).await);
    let events: Vec<_> = (0..400).map(|n| if n % 2 == 0 { &one } else { &two }.call(fixture, NOW)).collect();
    let mut senders = JoinSet::new();
    for sender in 0..8_usize {
        let store = fixture.store.clone();
        // Each sends overlapping parts, in an order of its own.
        let mut part: Vec<_> = events.iter().copied().skip(sender * 20).take(300).collect();
        part.extend(events.iter().take(sender * 20));
        if sender % 2 == 1 {
            part.reverse();
        }
        senders.spawn(async move {
            store.usage_insert(&part).await.expect("nobody is made to give way").inserted
        });
    }
    let inserted: u32 = senders.join_all().await.into_iter().sum();
    assert_eq!(inserted, 400);
    for tenant in [&one, &two] {
        assert_eq!(rows(fixture, &all(tenant)).await[0].calls, 200);
    }
}

pub(crate) async fn r10_late_usage_counts_in_the_hour_of_its_start(fixture: &Fixture) {
    let tenant = Tenant::stored(fixture).await;
    let hour = NOW.hour();
    let last_moment = hour.saturating_add(HOUR).saturating_sub(Duration::from_millis(1));
    let across = changed(fixture, &tenant.call(fixture, last_moment), |event| {
        event.finished = last_moment.saturating_add(HOUR);
    });
    for _ in 0..2 {
        fixture.store.usage_insert(&[across]).await.expect("stored");
    }
    let answer = rows(fixture, &UsageQuery { by_hour: true, ..all(&tenant) }).await;
    assert_eq!(answer.iter().map(|row| (row.hour, row.calls)).collect::<Vec<_>>(), [(Some(hour), 1)]);
    let mid_hour = hour.saturating_add(Duration::from_secs(1800));
    let from = rows(fixture, &UsageQuery { from: mid_hour, ..all(&tenant) }).await;
    assert_eq!(from.len(), 1, "from the start of that hour");
    assert_eq!(rows(fixture, &UsageQuery { to: hour, ..all(&tenant) }).await, [], "before that hour");
}

pub(crate) async fn r10_absurd_counts_stop_nobodys_usage(fixture: &Fixture) {
    let tenant = Tenant::stored(fixture).await;
    for at in [NOW, NOW, NOW, NOW.saturating_add(HOUR)] {
        let absurd = changed(fixture, &tenant.call(fixture, at), |event| {
            event.tokens.prompt = i64::MAX.unsigned_abs();
            event.cost = NanoUsd::from_nanos(i64::MAX);
        });
        let inserted = fixture.store.usage_insert(&[absurd, tenant.call(fixture, at)]).await.expect("stored");
        assert_eq!(inserted.inserted, 2);
    }
    let sums = &rows(fixture, &all(&tenant)).await[0];
    assert_eq!((sums.calls, sums.completion_tokens), (8, 160), "what is not absurd is exact");
    assert_eq!((sums.prompt_tokens, sums.cost_nanos_usd), (i64::MAX.unsigned_abs(), i64::MAX));
}

pub(crate) async fn events_of_unknown_organizations_are_reported_and_those_of_deleted_ones_kept(
    fixture: &Fixture,
) {
    let tenant = Tenant::stored(fixture).await;
    let id = tenant.organization.id;
    mutate(fixture, &[], async |t| t.organization_set_status(id, OrganizationStatus::Deleted).await)
        .await
        .expect("deleted");
    let stranger = organization(fixture).id.into_inner();
    let known = tenant.call(fixture, NOW);
    let unknown = changed(fixture, &tenant.call(fixture, NOW), |event| event.organization = stranger);
    let answer = fixture.store.usage_insert(&[unknown, known, unknown]).await.expect("stored");
    assert_eq!((answer.inserted, answer.unknown_organization), (1, vec![0, 2]));
    assert_eq!(stored_events(fixture).await, 1);
}

pub(crate) async fn roll_ups_are_summed_as_asked(fixture: &Fixture) {
    let (tenant, other) = (Tenant::stored(fixture).await, Tenant::stored(fixture).await);
    let second_key = ApiKey::generate(fixture.home.code()).key_id();
    let mut events = vec![other.call(fixture, NOW)];
    for hours in 0..3_u32 {
        let at = NOW.saturating_add(HOUR * hours);
        events.push(tenant.call(fixture, at));
        events.push(changed(fixture, &tenant.call(fixture, at), |event| event.key = second_key));
        events.push(changed(fixture, &tenant.call(fixture, at), |event| {
            (event.status, event.priced, event.key) = (500, false, second_key);
        }));
        events.push(changed(fixture, &tenant.call(fixture, at), |event| {
            (event.end, event.source) = (CallEnd::CallerLeft, UsageSource::Estimated);
        }));
    }
    fixture.store.usage_insert(&events).await.expect("stored");
    for (by_key, by_model, by_hour, count) in [
        (false, false, false, 1),
        (true, false, false, 2),
        (false, true, false, 1),
        (false, false, true, 3),
        (true, true, true, 6),
    ] {
        let query = UsageQuery { by_key, by_model, by_hour, ..all(&tenant) };
        let whole = rows(fixture, &query).await;
        assert_eq!(whole.len(), count, "{query:?}");
        assert_eq!(whole.iter().map(|row| row.calls).sum::<u64>(), 12);
        assert_eq!(whole.iter().map(|row| row.failed_calls).sum::<u64>(), 6);
        assert_eq!(whole.iter().map(|row| row.unpriced_calls).sum::<u64>(), 3);
        assert_eq!(whole.iter().map(|row| row.estimated_calls).sum::<u64>(), 3);
        assert_eq!(whole.iter().map(|row| row.cache_write_tokens).sum::<u64>(), 12 * 30);
        assert_eq!(whole.iter().map(|row| row.images).sum::<u64>(), 12 * 2);
        assert_eq!(whole.iter().map(|row| row.audio_millis).sum::<u64>(), 12 * 1500);
        assert_eq!(whole.iter().map(|row| row.cost_nanos_usd).sum::<i64>(), 12 * 1_000_000_007);
        assert!(whole.iter().all(|row| row.key.is_some() == by_key && row.model.is_some() == by_model));

        let (mut paged, mut next) = (Vec::new(), page(1, None));
        loop {
            let answer = fixture
                .store
                .usage_query(&UsageQuery { page: next, ..query.clone() })
                .await
                .expect("answers");
            paged.extend(answer.rows);
            match answer.next {
                Some(token) => next = page(1, Some(token)),
                None => break,
            }
        }
        assert_eq!(paged, whole, "in pages as at once");
    }
}

pub(crate) async fn events_come_back_as_they_went_in_newest_first(fixture: &Fixture) {
    let tenant = Tenant::stored(fixture).await;
    let mut events: Vec<_> =
        (0..5).map(|n| tenant.call(fixture, NOW.saturating_add(Duration::from_secs(n)))).collect();
    events[1] = changed(fixture, &events[1], |event| {
        (event.first_byte, event.stream, event.priced, event.attempts) = (None, false, false, 3);
    });
    fixture.store.usage_insert(&events).await.expect("stored");
    let seen = listed(fixture, &tenant, 2).await;
    events.reverse();
    assert_eq!(seen, events);
    let ids: Vec<EventId> = seen.iter().map(|event| event.event_id).collect();
    assert!(ids.is_sorted_by(|one, two| one > two));
}

pub(crate) async fn a_block_of_the_longest_records_is_stored(fixture: &Fixture) {
    let tenant = Tenant::stored(fixture).await;
    let far = Timestamp::from_micros(i64::MAX);
    let mut events: Vec<_> = (0..128)
        .map(|_| {
            // A key, a model and a deployment of its own for each.
            changed(fixture, &call_of(fixture, tenant.organization.id, NOW), |event| {
                let count = u64::MAX;
                event.tokens = TokenCounts {
                    prompt: count,
                    completion: count,
                    cached_prompt: count,
                    cache_write: count,
                    cache_write_hour: count,
                    reasoning: count,
                };
                event.media = MediaCounts { images: count, audio_millis: count };
                event.cost = NanoUsd::from_nanos(-1);
                (event.status, event.attempts) = (u16::MAX, u16::MAX);
                event.started = Timestamp::from_micros(i64::MIN);
                (event.first_byte, event.finished) = (Some(far), far);
            })
        })
        .collect();
    assert_eq!(fixture.store.usage_insert(&events).await.expect("stored").inserted, 128);
    assert_eq!(fixture.number("SELECT COUNT(*) FROM usage_blocks").await, 1);
    events.sort_by_key(|event| std::cmp::Reverse(event.event_id));
    assert_eq!(listed(fixture, &tenant, 1000).await, events);
}
