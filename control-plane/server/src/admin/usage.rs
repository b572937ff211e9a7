//! `UsageService`.

use bailiwick_core::records::{UsageQuery, UsageRow};
use bailiwick_domain::{time::Timestamp, usage::UsageEvent};
use bailiwick_proto::admin::v1::{self as wire, usage_service_server::UsageService};
use tonic::{Request, Response, Status};

use super::{
    Admin,
    edge::{micros, next_page},
};

const GROUPS: [i32; 3] = [wire::GroupBy::Key as i32, wire::GroupBy::Model as i32, wire::GroupBy::Hour as i32];

#[tonic::async_trait]
impl UsageService for Admin {
    async fn query_usage(
        &self,
        request: Request<wire::QueryUsageRequest>,
    ) -> Result<Response<wire::QueryUsageResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let by = |wanted: wire::GroupBy| request.group_by().any(|group| group == wanted);
        let (by_key, by_model, by_hour) =
            (by(wire::GroupBy::Key), by(wire::GroupBy::Model), by(wire::GroupBy::Hour));
        if request.group_by.iter().any(|group| !GROUPS.contains(group)) {
            edge.violation("group_by", "is one of GROUP_BY_KEY, GROUP_BY_MODEL, GROUP_BY_HOUR".to_owned());
        }
        let fields = (
            edge.id("organization_id", &request.organization_id),
            edge.time("from_micros", request.from_micros),
            edge.time("to_micros", request.to_micros),
            edge.page(request.page.clone()),
        );
        let query = match fields {
            (Some(organization), Some(from), Some(to), Some(page)) => Some(UsageQuery {
                organization,
                from: from.unwrap_or_default().hour(),
                // Clocks of workers may be ahead: without a bound, everything is meant.
                to: to.unwrap_or(Timestamp::from_micros(i64::MAX)),
                by_key,
                by_model,
                by_hour,
                page,
            }),
            _ => None,
        };
        let query = edge.checked(query).await?;
        let found = self.control_plane.usage_query(&edge.caller, &query).await;
        self.answer(found.map(|found| wire::QueryUsageResponse {
            rows: found.rows.iter().map(row).collect(),
            page: next_page(found.next),
        }))
    }

    async fn list_usage_events(
        &self,
        request: Request<wire::ListUsageEventsRequest>,
    ) -> Result<Response<wire::ListUsageEventsResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let fields = edge.id("organization_id", &request.organization_id).zip(edge.page(request.page));
        let (organization, page) = edge.checked(fields).await?;
        let found = self.control_plane.usage_events(&edge.caller, organization, &page).await;
        self.answer(found.map(|found| wire::ListUsageEventsResponse {
            events: found.rows.iter().map(|event| self::event(event)).collect(),
            page: next_page(found.next),
        }))
    }
}

fn row(row: &UsageRow) -> wire::UsageRow {
    wire::UsageRow {
        key_id: row.key.map(|id| id.to_string()).unwrap_or_default(),
        model_id: row.model.map(|id| id.to_string()).unwrap_or_default(),
        hour_micros: micros(row.hour),
        calls: row.calls,
        failed_calls: row.failed_calls,
        prompt_tokens: row.prompt_tokens,
        completion_tokens: row.completion_tokens,
        cached_prompt_tokens: row.cached_prompt_tokens,
        reasoning_tokens: row.reasoning_tokens,
        cost_nanos_usd: row.cost_nanos_usd,
        unpriced_calls: row.unpriced_calls,
        cache_write_tokens: row.cache_write_tokens,
        images: row.images,
        audio_millis: row.audio_millis,
        estimated_calls: row.estimated_calls,
    }
}

fn event(event: &UsageEvent) -> wire::UsageEvent {
    wire::UsageEvent {
        event_id: event.event_id.to_string(),
        request_id: event.request_id.to_string(),
        key_id: event.key.to_string(),
        model_id: event.model.to_string(),
        deployment_id: event.deployment.to_string(),
        call_type: event.call_type.to_string(),
        stream: event.stream,
        status: event.status.into(),
        end: event.end.to_string(),
        source: event.source.to_string(),
        prompt_tokens: event.tokens.prompt,
        completion_tokens: event.tokens.completion,
        cached_prompt_tokens: event.tokens.cached_prompt,
        reasoning_tokens: event.tokens.reasoning,
        cost_nanos_usd: event.cost.as_nanos(),
        priced: event.priced,
        started_at_micros: event.started.as_micros(),
        first_byte_at_micros: micros(event.first_byte),
        finished_at_micros: event.finished.as_micros(),
        attempts: event.attempts.into(),
        cache_write_tokens: event.tokens.cache_write,
        cache_write_hour_tokens: event.tokens.cache_write_hour,
        images: event.media.images,
        audio_millis: event.media.audio_millis,
    }
}
