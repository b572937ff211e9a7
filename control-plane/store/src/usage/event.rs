//! Single usage events.

use bailiwick_core::{
    ports::store::StoreError,
    records::{Page, PageOf},
};
use bailiwick_domain::{
    id::OrganizationId,
    jurisdiction::Local,
    money::NanoUsd,
    price::{MediaCounts, TokenCounts},
    time::Timestamp,
    usage::{EventId, UsageEvent},
};
use sqlx::{Any, any::AnyArguments, query, query::Query};

use crate::{backend::Backend, bulk, page, row::Row, session::Db};

const TABLE: &str = "usage_events";
const COLUMNS: usize = 25;

/// Stores events that are not there, and tells how many those are.
pub(crate) async fn insert(db: &mut Db<'_>, events: &[&UsageEvent]) -> Result<u64, StoreError> {
    let statement = statement(db.backend, events, " ON CONFLICT DO NOTHING");
    db.execute(statement).await
}

/// Stores events that are not there, and tells which those are.
pub(crate) async fn insert_telling(
    db: &mut Db<'_>,
    events: &[&UsageEvent],
) -> Result<Vec<EventId>, StoreError> {
    let statement = statement(db.backend, events, " ON CONFLICT DO NOTHING RETURNING event_id");
    db.all(TABLE, statement, |row| row.parsed("event_id")).await
}

fn statement(
    backend: Backend,
    events: &[&UsageEvent],
    after: &'static str,
) -> Query<'static, Any, AnyArguments> {
    let before = "INSERT INTO usage_events (event_id, request_id, organization_id, key_id, model_id, deployment_id, \
         call_type, stream, status, call_end, source, prompt_tokens, completion_tokens, cached_prompt_tokens, \
         reasoning_tokens, cost_nanos_usd, priced, started_at, first_byte_at, finished_at, attempts, \
         cache_write_tokens, cache_write_hour_tokens, images, audio_millis) VALUES ";
    let mut statement = query(bulk::statement(backend, before, events.len(), COLUMNS, after));
    for event in events {
        statement = statement
            .bind(event.event_id.to_string())
            .bind(event.request_id.to_string())
            .bind(event.organization.to_string())
            .bind(event.key.to_string())
            .bind(event.model.to_string())
            .bind(event.deployment.to_string())
            .bind(event.call_type.as_str())
            .bind(i64::from(event.stream))
            .bind(i64::from(event.status))
            .bind(event.end.as_str())
            .bind(event.source.as_str())
            .bind(tokens(event.tokens.prompt))
            .bind(tokens(event.tokens.completion))
            .bind(tokens(event.tokens.cached_prompt))
            .bind(tokens(event.tokens.reasoning))
            .bind(event.cost.as_nanos())
            .bind(i64::from(event.priced))
            .bind(event.started.as_micros())
            .bind(event.first_byte.map(Timestamp::as_micros))
            .bind(event.finished.as_micros())
            .bind(i64::from(event.attempts))
            .bind(tokens(event.tokens.cache_write))
            .bind(tokens(event.tokens.cache_write_hour))
            .bind(tokens(event.media.images))
            .bind(tokens(event.media.audio_millis));
    }
    statement
}

/// Newest first: an event's identifier starts with its time.
pub(crate) async fn list(
    db: &mut Db<'_>,
    organization: Local<OrganizationId>,
    page: &Page,
) -> Result<PageOf<Local<UsageEvent>>, StoreError> {
    // `g` sorts after every hexadecimal digit.
    let before = page::after::<EventId>(page)?.map_or_else(|| "g".to_owned(), |id| id.to_string());
    let statement = query(
        "SELECT event_id, request_id, organization_id, key_id, model_id, deployment_id, call_type, stream, status, \
         call_end, source, prompt_tokens, completion_tokens, cached_prompt_tokens, reasoning_tokens, cost_nanos_usd, \
         priced, started_at, first_byte_at, finished_at, attempts, cache_write_tokens, cache_write_hour_tokens, images, \
         audio_millis FROM usage_events \
         WHERE organization_id = $1 AND event_id < $2 ORDER BY event_id DESC LIMIT $3",
    );
    let statement = statement.bind(organization.to_string()).bind(before).bind(page::limit(page));
    let rows = db.all(TABLE, statement, read).await?;
    Ok(page::of(rows, page, |last| last.event_id.to_string()))
}

/// The wire admits only counts that fit; one that does not counts as the largest.
pub(super) fn tokens(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn read(row: Row<'_>) -> Result<Local<UsageEvent>, StoreError> {
    let event = UsageEvent {
        event_id: row.parsed("event_id")?,
        request_id: row.parsed("request_id")?,
        organization: row.bare_id("organization_id")?,
        key: row.bare_id("key_id")?,
        model: row.bare_id("model_id")?,
        deployment: row.bare_id("deployment_id")?,
        call_type: row.parsed("call_type")?,
        stream: row.flag("stream")?,
        status: row.number("status")?,
        end: row.parsed("call_end")?,
        source: row.parsed("source")?,
        tokens: TokenCounts {
            prompt: row.number("prompt_tokens")?,
            completion: row.number("completion_tokens")?,
            cached_prompt: row.number("cached_prompt_tokens")?,
            cache_write: row.number("cache_write_tokens")?,
            cache_write_hour: row.number("cache_write_hour_tokens")?,
            reasoning: row.number("reasoning_tokens")?,
        },
        media: MediaCounts { images: row.number("images")?, audio_millis: row.number("audio_millis")? },
        cost: NanoUsd::from_nanos(row.integer("cost_nanos_usd")?),
        priced: row.flag("priced")?,
        started: row.time("started_at")?,
        first_byte: row.optional_time("first_byte_at")?,
        finished: row.time("finished_at")?,
        attempts: row.number("attempts")?,
    };
    row.admit("organization_id", event)
}
