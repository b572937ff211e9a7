use bailiwick_core::records::{Chain, Page, UsageQuery};
use bailiwick_domain::{
    id::OrganizationId,
    jurisdiction::{Jurisdiction, Local},
    key::ApiKey,
    money::NanoUsd,
    packed::Packed as _,
    price::{MediaCounts, TokenCounts},
    region::Regions,
    spiffe::ProcessRole,
    time::{Clock, SystemClock, Timestamp},
    usage::{CallEnd, CallType, EventId, RequestId, UsageEvent, UsageSource},
};
use bailiwick_proto::{
    convert,
    encoded::{EncodedEvents, EventGatherer},
    status::violations_of,
    worker::v1::{self as wire, ReportRequest, ReportResponse, usage_service_client::UsageServiceClient},
};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::world::World;

/// An event of a subject of its own.
#[derive(Clone)]
struct Call {
    subject: wire::UsageSubject,
    event: wire::UsageEvent,
}

fn event(region: &Jurisdiction, organization: OrganizationId) -> Call {
    let now = SystemClock.now();
    let event = UsageEvent {
        event_id: EventId::new(now),
        request_id: RequestId::random(),
        organization,
        key: ApiKey::generate(region.code()).key_id(),
        model: region.mint_random(now).into_inner(),
        deployment: region.mint_random(now).into_inner(),
        call_type: CallType::ChatCompletion,
        stream: true,
        status: 200,
        end: CallEnd::Completed,
        source: UsageSource::ProviderFinal,
        tokens: TokenCounts { prompt: 10, completion: 5, ..TokenCounts::default() },
        media: MediaCounts::default(),
        cost: NanoUsd::from_nanos(7),
        priced: true,
        started: now,
        first_byte: Some(now),
        finished: now,
        attempts: 1,
    };
    Call { subject: convert::usage_subject_to_wire(&event), event: convert::usage_event_to_wire(&event, 0) }
}

struct Reporter {
    up: mpsc::Sender<ReportRequest>,
    down: Streaming<ReportResponse>,
}

impl Reporter {
    async fn connect(world: &World) -> Self {
        let identity = world.join(ProcessRole::Worker, "worker-1").await;
        let (up, batches) = mpsc::channel(8);
        let mut client = UsageServiceClient::new(world.channel(&identity));
        let down = client.report(ReceiverStream::new(batches)).await.expect("open").into_inner();
        Self { up, down }
    }

    async fn send(&self, first_sequence: u64, calls: Vec<Call>) {
        let mut events = EventGatherer::default();
        for Call { subject, event } in calls {
            events.push(&subject.encode_to_vec(), &event.encode_to_vec());
        }
        self.report(first_sequence, events.finish()).await;
    }

    async fn report(&self, first_sequence: u64, events: EncodedEvents) {
        let journal_id = "01JD0W6KQ4V6J5T6T9N2X8Y3ZB".to_owned();
        self.up.send(ReportRequest { journal_id, first_sequence, events }).await.expect("open");
    }

    async fn heard(&mut self) -> Result<(u64, u32, u32), Status> {
        let answer = self.down.message().await?.expect("open");
        Ok((answer.acknowledged_sequence, answer.inserted, answer.refused))
    }
}

async fn stored(world: &World, organization: Local<OrganizationId>) -> u64 {
    let query = UsageQuery {
        organization,
        from: Timestamp::default(),
        to: Timestamp::from_micros(i64::MAX / 2),
        by_key: false,
        by_model: false,
        by_hour: false,
        page: Page { size: 10, token: None },
    };
    let page = world.control_plane.parts.store.usage_query(&query).await.expect("read");
    page.rows.iter().map(|row| row.calls).sum()
}

#[tokio::test]
async fn r10_what_is_acknowledged_is_stored_and_what_is_sent_twice_counts_once() {
    let world = World::new("eu-central-1").await;
    let organization = world.organization().await;
    let here = world.control_plane.parts.jurisdiction.clone();
    let events: Vec<_> = (0..5).map(|_| event(&here, *organization)).collect();
    let mut reporter = Reporter::connect(&world).await;
    reporter.send(1, events.clone()).await;
    assert_eq!(reporter.heard().await.expect("stored"), (5, 5, 0));
    assert_eq!(stored(&world, organization).await, 5);

    // As after a crash that lost the acknowledgement: under another sequence even.
    reporter.send(100, events).await;
    assert_eq!(reporter.heard().await.expect("stored"), (104, 0, 0));
    assert_eq!(stored(&world, organization).await, 5);
}

#[tokio::test]
async fn r10_a_batch_of_the_most_and_largest_events_is_taken() {
    let world = World::new("eu-central-1").await;
    let organization = world.organization().await;
    let here = world.control_plane.parts.jurisdiction.clone();
    let large = || {
        let call = event(&here, *organization);
        let most = i64::MAX.cast_unsigned();
        let event = wire::UsageEvent {
            status: u16::MAX.into(),
            prompt_tokens: most,
            completion_tokens: most,
            cost_nanos_usd: i64::MAX,
            started_after_micros: i64::MIN,
            first_byte_after_micros: Some(i64::MIN),
            finished_after_micros: i64::MIN,
            attempts: u16::MAX.into(),
            cached_prompt_tokens: most,
            reasoning_tokens: most,
            cache_write_tokens: most,
            cache_write_hour_tokens: most,
            images: most,
            audio_millis: most,
            ..call.event
        };
        Call { event, ..call }
    };
    let events: Vec<_> = (0..1000).map(|_| large()).collect();
    let mut reporter = Reporter::connect(&world).await;
    reporter.send(1, events).await;
    assert_eq!(reporter.heard().await.expect("stored"), (1000, 1000, 0));
}

#[tokio::test]
async fn batches_are_acknowledged_in_their_order() {
    let world = World::new("eu-central-1").await;
    let organization = world.organization().await;
    let here = world.control_plane.parts.jurisdiction.clone();
    let mut reporter = Reporter::connect(&world).await;
    for batch in 0..8 {
        reporter.send(batch * 10, (0..10).map(|_| event(&here, *organization)).collect()).await;
    }
    for batch in 0..8 {
        assert_eq!(reporter.heard().await.expect("stored").0, batch * 10 + 9);
    }
    assert_eq!(stored(&world, organization).await, 80);
}

#[tokio::test]
async fn r5_usage_of_a_foreign_or_unknown_organization_is_refused_and_recorded() {
    let world = World::new("eu-central-1").await;
    let organization = world.organization().await;
    let here = world.control_plane.parts.jurisdiction.clone();
    let regions = Regions::builtin();
    let elsewhere = Jurisdiction::of(regions.by_name_str("us-west-1").expect("built in"));
    let foreign = elsewhere.mint_random(SystemClock.now()).into_inner();
    let unknown = here.mint_random(SystemClock.now()).into_inner();

    let mut reporter = Reporter::connect(&world).await;
    let batch = vec![event(&here, *organization), event(&here, foreign), event(&here, unknown)];
    reporter.send(1, batch).await;
    assert_eq!(reporter.heard().await.expect("answered"), (3, 1, 2));
    assert_eq!(stored(&world, organization).await, 1);
    // A second one within moments is refused as well, but fills the chain no further.
    reporter.send(4, vec![event(&here, foreign)]).await;
    assert_eq!(reporter.heard().await.expect("answered"), (4, 0, 1));

    let page = Page { size: 100, token: None };
    let records =
        world.control_plane.audit_list(&world.operator(), Chain::Region, &page).await.expect("listed");
    let refused: Vec<_> = records.rows.iter().filter(|row| row.record.action == "usage.refuse").collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].record.subject, foreign.to_string());
    assert_eq!(refused[0].actor, "spiffe://eu-central-1.test/worker/worker-1");
}

#[tokio::test]
async fn a_malformed_batch_ends_the_stream_and_names_the_field() {
    let world = World::new("eu-central-1").await;
    let organization = world.organization().await;
    let here = world.control_plane.parts.jurisdiction.clone();
    let good = event(&here, *organization);
    let bad = wire::UsageEvent { event_id: vec![1; 15].into(), ..good.event.clone() };
    let bad_subject = wire::UsageSubject { key_id: "key".into(), ..good.subject.clone() };
    for (events, field) in [
        (vec![good.clone(), Call { event: bad, ..good.clone() }], "events[1].event_id"),
        (vec![good.clone(), Call { subject: bad_subject, ..good.clone() }], "subjects[1].key_id"),
        (Vec::new(), "events"),
        (vec![good.clone(); 1001], "events"),
    ] {
        let mut reporter = Reporter::connect(&world).await;
        reporter.send(1, events).await;
        let status = reporter.heard().await.expect_err("refused");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(violations_of(&status)[0].field, field);
    }
    assert_eq!(stored(&world, organization).await, 0);
}

/// A report as a worker of ours never makes it.
fn of_parts(subjects: &[&wire::UsageSubject], events: &[wire::UsageEvent]) -> EncodedEvents {
    let mut bytes = Vec::new();
    events.iter().for_each(|event| prost::encoding::message::encode(3, event, &mut bytes));
    subjects.iter().for_each(|subject| prost::encoding::message::encode(4, *subject, &mut bytes));
    ReportRequest::decode(&*bytes).expect("a report").events
}

#[tokio::test]
async fn an_event_without_a_subject_and_subjects_beyond_events_are_refused() {
    let world = World::new("eu-central-1").await;
    let organization = world.organization().await;
    let here = world.control_plane.parts.jurisdiction.clone();
    let Call { subject, event } = event(&here, *organization);
    let of = |subject| wire::UsageEvent { subject, ..event.clone() };
    for (events, field) in [
        (of_parts(&[], &[of(0)]), "events[0].subject"),
        (of_parts(&[&subject], &[of(0), of(1)]), "events[1].subject"),
        (of_parts(&[&subject], &[of(u32::MAX)]), "events[0].subject"),
        (of_parts(&[&subject, &subject], &[of(0)]), "subjects"),
    ] {
        let mut reporter = Reporter::connect(&world).await;
        reporter.report(1, events).await;
        let status = reporter.heard().await.expect_err("refused");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(violations_of(&status)[0].field, field);
    }
    assert_eq!(stored(&world, organization).await, 0);
}

#[tokio::test]
async fn r5_an_event_is_stored_with_its_own_subject_and_refused_with_a_foreign_one() {
    let world = World::new("eu-central-1").await;
    let organization = world.organization().await;
    let here = world.control_plane.parts.jurisdiction.clone();
    let regions = Regions::builtin();
    let elsewhere = Jurisdiction::of(regions.by_name_str("us-west-1").expect("built in"));
    let foreign = event(&elsewhere, elsewhere.mint_random(SystemClock.now()).into_inner()).subject;
    let own = [event(&here, *organization), event(&here, *organization), event(&here, *organization)];
    let subjects = [&own[0].subject, &foreign, &own[1].subject];
    // The last is one of this region by its identifiers alone.
    let events = [(2, 0), (0, 1), (1, 2)]
        .map(|(subject, call): (u32, usize)| wire::UsageEvent { subject, ..own[call].event.clone() });
    let mut reporter = Reporter::connect(&world).await;
    reporter.report(1, of_parts(&subjects, &events)).await;
    assert_eq!(reporter.heard().await.expect("answered"), (3, 2, 1));

    let page = Page { size: 10, token: None };
    let listed = world.control_plane.parts.store.usage_event_list(organization, &page).await.expect("listed");
    let keys = |id: &[u8]| {
        let found = listed.rows.iter().find(|row| row.event_id.as_bytes().as_slice() == id);
        found.map(|row| row.key.to_packed())
    };
    assert_eq!(keys(&events[0].event_id), Some(own[1].subject.key_id.to_vec()));
    assert_eq!(keys(&events[1].event_id), Some(own[0].subject.key_id.to_vec()));
    assert_eq!(keys(&events[2].event_id), None);
}
