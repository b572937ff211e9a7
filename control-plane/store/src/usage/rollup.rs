//! Hourly roll-ups.
//!
//! An event belongs to the hour in which its call started, which its identifier holds: a batch that is sent again after midnight
//! counts where it counted before.

use std::collections::BTreeMap;

use bailiwick_core::ports::store::StoreError;
use bailiwick_domain::{
    id::{ModelId, OrganizationId},
    key::KeyId,
    time::Timestamp,
    usage::{CallEnd, UsageEvent, UsageSource},
};
use sqlx::query;

use crate::{bulk, session::Db};

const COLUMNS: usize = 16;

/// Adds events to the roll-ups. Those of an organization stand side by side.
pub(super) async fn add(db: &mut Db<'_>, events: &[&UsageEvent]) -> Result<(), StoreError> {
    let runs = events.chunk_by(|one, other| one.organization == other.organization);
    let rows: Vec<Row> = runs.flat_map(rows).collect();
    for chunk in bulk::chunks(&rows) {
        store(db, chunk).await?;
    }
    Ok(())
}

type Row = (OrganizationId, Key, Sums);
/// A roll-up within its organization.
type Key = (Timestamp, KeyId, ModelId);

/// What to add for events of one organization, in the order of the table's key.
fn rows(events: &[&UsageEvent]) -> Vec<Row> {
    let Some(first) = events.first() else { return Vec::new() };
    let mut rollups: BTreeMap<Key, Sums> = BTreeMap::new();
    for event in events {
        let hour = event.event_id.time().hour();
        rollups.entry((hour, event.key, event.model)).or_default().add(event);
    }
    rollups.into_iter().map(|(key, sums)| (first.organization, key, sums)).collect()
}

#[derive(Clone, Copy, Default)]
struct Sums {
    calls: i64,
    failed_calls: i64,
    unpriced_calls: i64,
    estimated_calls: i64,
    prompt_tokens: i64,
    completion_tokens: i64,
    cached_prompt_tokens: i64,
    cache_write_tokens: i64,
    reasoning_tokens: i64,
    images: i64,
    audio_millis: i64,
    cost_nanos_usd: i64,
}

impl Sums {
    fn add(&mut self, event: &UsageEvent) {
        let failed = event.end != CallEnd::Completed || event.status >= 400;
        self.calls += 1;
        self.failed_calls += i64::from(failed);
        self.unpriced_calls += i64::from(!event.priced);
        self.estimated_calls += i64::from(event.source == UsageSource::Estimated);
        for (sum, count) in [
            (&mut self.prompt_tokens, event.tokens.prompt),
            (&mut self.completion_tokens, event.tokens.completion),
            (&mut self.cached_prompt_tokens, event.tokens.cached_prompt),
            (&mut self.cache_write_tokens, event.tokens.cache_write),
            (&mut self.reasoning_tokens, event.tokens.reasoning),
            (&mut self.images, event.media.images),
            (&mut self.audio_millis, event.media.audio_millis),
        ] {
            *sum = sum.saturating_add(bounded(count));
        }
        // Not negative by the wire's rule; were it, the bound below would not hold.
        self.cost_nanos_usd = self.cost_nanos_usd.saturating_add(event.cost.as_nanos().max(0));
    }
}

async fn store(db: &mut Db<'_>, rows: &[Row]) -> Result<(), StoreError> {
    let mut statement = query(bulk::statement(db.backend, BEFORE, rows.len(), COLUMNS, AFTER));
    for (organization, (hour, key, model), sums) in rows {
        statement = statement
            .bind(organization.to_string())
            .bind(hour.as_micros())
            .bind(key.to_string())
            .bind(model.to_string())
            .bind(sums.calls)
            .bind(sums.failed_calls)
            .bind(sums.unpriced_calls)
            .bind(sums.estimated_calls)
            .bind(sums.prompt_tokens)
            .bind(sums.completion_tokens)
            .bind(sums.cached_prompt_tokens)
            .bind(sums.cache_write_tokens)
            .bind(sums.reasoning_tokens)
            .bind(sums.images)
            .bind(sums.audio_millis)
            .bind(sums.cost_nanos_usd);
    }
    db.execute(statement).await.map(|_| ())
}

/// The wire admits only counts that fit; one that does not counts as the largest.
fn bounded(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

const BEFORE: &str = "INSERT INTO usage_hourly (organization_id, hour, key_id, model_id, calls, failed_calls, \
     unpriced_calls, estimated_calls, prompt_tokens, completion_tokens, cached_prompt_tokens, cache_write_tokens, \
     reasoning_tokens, images, audio_millis, cost_nanos_usd) VALUES ";

/// A sum that would not fit stays at the largest number: a provider that reports absurd counts must not be able to stop its tenant's usage.
/// (PostgreSQL would refuse the sum, SQLite make it a floating-point number.)
macro_rules! bounded_sums {
    ($first:literal $(, $rest:literal)*) => {
        concat!(
            " ON CONFLICT (organization_id, hour, key_id, model_id) DO UPDATE SET \
             calls = usage_hourly.calls + excluded.calls, \
             failed_calls = usage_hourly.failed_calls + excluded.failed_calls, \
             unpriced_calls = usage_hourly.unpriced_calls + excluded.unpriced_calls, \
             estimated_calls = usage_hourly.estimated_calls + excluded.estimated_calls, ",
            bounded_sums!(@ $first) $(, ", ", bounded_sums!(@ $rest))*
        )
    };
    (@ $column:literal) => {
        concat!(
            $column, " = CASE WHEN usage_hourly.", $column, " > 9223372036854775807 - excluded.", $column,
            " THEN 9223372036854775807 ELSE usage_hourly.", $column, " + excluded.", $column, " END"
        )
    };
}

const AFTER: &str = bounded_sums!(
    "prompt_tokens",
    "completion_tokens",
    "cached_prompt_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "images",
    "audio_millis",
    "cost_nanos_usd"
);
