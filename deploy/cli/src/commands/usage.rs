//! `bailiwick usage`.

use bailiwick_domain::time::{Clock, SystemClock};
use bailiwick_proto::admin::v1::{GroupBy, ListUsageEventsRequest, QueryUsageRequest, UsageEvent, UsageRow};
use clap::{Args, Subcommand, ValueEnum};

use super::organization;
use crate::{
    connection::{Connection, EVERYTHING, pages, request},
    failure::Failure,
    output::{Output, Record, Value},
    when::When,
};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct UsageArguments {
    #[command(subcommand)]
    events: Option<UsageCommand>,
    #[command(flatten)]
    query: QueryArguments,
}

#[derive(Debug, Args)]
struct QueryArguments {
    /// The organization; without it, every organization of the region
    #[arg(long, value_name = "ID")]
    org: Option<String>,
    /// What to break the numbers down by; any of them, separated by commas
    #[arg(long, value_enum, value_delimiter = ',')]
    by: Vec<By>,
    /// From this hour on: a time (RFC 3339), or how long ago, such as 7d
    #[arg(long, value_parser = When::parse, value_name = "WHEN")]
    from: Option<When>,
    /// Up to this time; without it, now
    #[arg(long, value_parser = When::parse, value_name = "WHEN")]
    to: Option<When>,
}

#[derive(Debug, Subcommand)]
enum UsageCommand {
    /// Single calls, newest first
    Events {
        #[arg(long, value_name = "ID")]
        org: String,
        /// How many at most
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    Key,
    Model,
    Hour,
}

impl UsageArguments {
    pub(crate) async fn run(self, connection: &Connection, output: &Output) -> Result<(), Failure> {
        match self.events {
            Some(UsageCommand::Events { org, limit }) => events(connection, &org, limit, output).await,
            None => query(connection, self.query, output).await,
        }
    }
}

async fn query(connection: &Connection, query: QueryArguments, output: &Output) -> Result<(), Failure> {
    let organizations = match &query.org {
        Some(one) => vec![one.clone()],
        None => {
            organization::list(connection).await?.into_iter().map(|organization| organization.id).collect()
        }
    };
    let now = SystemClock.now();
    let micros = |when: Option<When>| when.map(|when| when.before(now).as_micros()).unwrap_or_default();
    let group_by = |by: &By| match by {
        By::Key => GroupBy::Key.into(),
        By::Model => GroupBy::Model.into(),
        By::Hour => GroupBy::Hour.into(),
    };
    let client = connection.usage();
    let mut records = Vec::new();
    for organization in organizations {
        let rows = pages(EVERYTHING, async |page| {
            let message = QueryUsageRequest {
                organization_id: organization.clone(),
                from_micros: micros(query.from),
                to_micros: micros(query.to),
                group_by: query.by.iter().map(group_by).collect(),
                page: Some(page),
            };
            let answer = client.clone().query_usage(request(message)).await?.into_inner();
            Ok((answer.rows, answer.page))
        })
        .await?;
        records.extend(rows.iter().map(|row| row_record(&organization, row, &query.by)));
    }
    output.list(&records);
    Ok(())
}

fn row_record(organization: &str, row: &UsageRow, by: &[By]) -> Record {
    let mut record = Record::default().text("organization", organization);
    if by.contains(&By::Hour) {
        record = record.time("hour", row.hour_micros);
    }
    if by.contains(&By::Key) {
        record = record.text("key", &row.key_id);
    }
    if by.contains(&By::Model) {
        record = record.text("model", &row.model_id);
    }
    record
        .count("calls", row.calls)
        .count("failed", row.failed_calls)
        .count("prompt_tokens", row.prompt_tokens)
        .count("cached_prompt_tokens", row.cached_prompt_tokens)
        .count("cache_write_tokens", row.cache_write_tokens)
        .count("completion_tokens", row.completion_tokens)
        .count("reasoning_tokens", row.reasoning_tokens)
        .count("images", row.images)
        .count("audio_millis", row.audio_millis)
        .with("cost_usd", Value::Money(row.cost_nanos_usd))
        .count("unpriced_calls", row.unpriced_calls)
        .count("estimated_calls", row.estimated_calls)
}

async fn events(
    connection: &Connection,
    organization: &str,
    limit: usize,
    output: &Output,
) -> Result<(), Failure> {
    let client = connection.usage();
    let events = pages(limit, async |page| {
        let message = ListUsageEventsRequest { organization_id: organization.to_owned(), page: Some(page) };
        let answer = client.clone().list_usage_events(request(message)).await?.into_inner();
        Ok((answer.events, answer.page))
    })
    .await?;
    output.list(&events.iter().map(event_record).collect::<Vec<_>>());
    Ok(())
}

fn event_record(event: &UsageEvent) -> Record {
    let cost = event.priced.then(|| Box::new(Value::Money(event.cost_nanos_usd)));
    Record::default()
        .time("started", event.started_at_micros)
        .text("request", &event.request_id)
        .text("key", &event.key_id)
        .text("model", &event.model_id)
        .text("deployment", &event.deployment_id)
        .text("call", &event.call_type)
        .with("stream", Value::Flag(event.stream))
        .count("status", event.status)
        .text("end", &event.end)
        .text("source", &event.source)
        .count("prompt_tokens", event.prompt_tokens)
        .count("cached_prompt_tokens", event.cached_prompt_tokens)
        .count("cache_write_tokens", event.cache_write_tokens)
        .count("cache_write_hour_tokens", event.cache_write_hour_tokens)
        .count("completion_tokens", event.completion_tokens)
        .count("reasoning_tokens", event.reasoning_tokens)
        .count("images", event.images)
        .count("audio_millis", event.audio_millis)
        .with("priced", Value::Flag(event.priced))
        .with("cost_usd", Value::Maybe(cost))
        .count("attempts", event.attempts)
        .time("first_byte", event.first_byte_at_micros)
        .time("finished", event.finished_at_micros)
        .text("event", &event.event_id)
}
