//! Questions to the roll-ups.

use std::str::FromStr;

use bailiwick_core::{
    ports::store::StoreError,
    records::{PageOf, UsageQuery, UsageRow},
};
use bailiwick_domain::time::Timestamp;
use sqlx::{AssertSqlSafe, query as statement};

use crate::{page, row::Row, session::Db};

const TABLE: &str = "usage_hourly";

/// Sums are read in two parts, because neither backend sums 64-bit numbers past 64 bits in the same way.
const PART: i64 = 1_000_000_000;

/// Sums, by what the question groups by, in the order of hour, key and model. No usage: no row.
pub(crate) async fn query(db: &mut Db<'_>, query: &UsageQuery) -> Result<PageOf<UsageRow>, StoreError> {
    let after = page::after::<Position>(&query.page)?.unwrap_or_else(Position::before_all);
    let sql = AssertSqlSafe(sql(query));
    let statement = statement(sql)
        .bind(query.organization.to_string())
        .bind(query.from.hour().as_micros())
        .bind(query.to.as_micros())
        .bind(after.hour)
        .bind(after.key)
        .bind(after.model)
        .bind(page::limit(&query.page));
    let rows = db.all(TABLE, statement, |row| Ok((Position::read(row)?, read(query, row)?))).await?;
    let page = page::of(rows, &query.page, |(position, _)| position.to_string());
    Ok(PageOf { rows: page.rows.into_iter().map(|(_, row)| row).collect(), next: page.next })
}

/// What is not asked for is grouped as one constant; so one statement pages through every kind of question.
fn sql(query: &UsageQuery) -> String {
    let hour = if query.by_hour { "hour" } else { "CAST(0 AS BIGINT)" };
    let key = if query.by_key { "key_id" } else { "CAST('' AS TEXT)" };
    let model = if query.by_model { "model_id" } else { "CAST('' AS TEXT)" };
    let sums: String = ["calls", "failed_calls", "unpriced_calls", "estimated_calls"]
        .iter()
        .map(|column| format!(", CAST(SUM({column}) AS BIGINT) AS {column}"))
        .chain(WIDE.iter().map(|column| {
            format!(
                ", CAST(SUM({column} / {PART}) AS BIGINT) AS {column}_high, \
                 CAST(SUM({column} % {PART}) AS BIGINT) AS {column}_low"
            )
        }))
        .collect();
    format!(
        "SELECT {hour} AS at_hour, {key} AS of_key, {model} AS of_model{sums} FROM usage_hourly \
         WHERE organization_id = $1 AND hour >= $2 AND hour < $3 AND ({hour}, {key}, {model}) > ($4, $5, $6) \
         GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LIMIT $7"
    )
}

const WIDE: [&str; 8] = [
    "prompt_tokens",
    "completion_tokens",
    "cached_prompt_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "images",
    "audio_millis",
    "cost_nanos_usd",
];

fn read(query: &UsageQuery, row: Row<'_>) -> Result<UsageRow, StoreError> {
    let wide = |high: &str, low: &str| {
        let (high, low) = (i128::from(row.integer(high)?), i128::from(row.integer(low)?));
        Ok(i64::try_from(high * i128::from(PART) + low).unwrap_or(i64::MAX))
    };
    let count =
        |high: &str, low: &str| wide(high, low).map(|sum: i64| u64::try_from(sum).unwrap_or_default());
    Ok(UsageRow {
        key: query.by_key.then(|| row.id("of_key")).transpose()?,
        model: query.by_model.then(|| row.id("of_model")).transpose()?,
        hour: query.by_hour.then(|| row.time("at_hour")).transpose()?,
        calls: row.number("calls")?,
        failed_calls: row.number("failed_calls")?,
        unpriced_calls: row.number("unpriced_calls")?,
        estimated_calls: row.number("estimated_calls")?,
        prompt_tokens: count("prompt_tokens_high", "prompt_tokens_low")?,
        completion_tokens: count("completion_tokens_high", "completion_tokens_low")?,
        cached_prompt_tokens: count("cached_prompt_tokens_high", "cached_prompt_tokens_low")?,
        cache_write_tokens: count("cache_write_tokens_high", "cache_write_tokens_low")?,
        reasoning_tokens: count("reasoning_tokens_high", "reasoning_tokens_low")?,
        images: count("images_high", "images_low")?,
        audio_millis: count("audio_millis_high", "audio_millis_low")?,
        cost_nanos_usd: wide("cost_nanos_usd_high", "cost_nanos_usd_low")?,
    })
}

/// Where a row stands in the answer; the page token is its text form.
struct Position {
    hour: i64,
    key: String,
    model: String,
}

impl Position {
    fn before_all() -> Self {
        Self { hour: i64::MIN, key: String::new(), model: String::new() }
    }

    fn read(row: Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            hour: row.integer("at_hour")?,
            key: row.text("of_key")?.to_owned(),
            model: row.text("of_model")?.to_owned(),
        })
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.hour, self.key, self.model)
    }
}

impl FromStr for Position {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let (hour, rest) = text.split_once('.').ok_or(StoreError::PageToken)?;
        let (key, model) = rest.split_once('.').ok_or(StoreError::PageToken)?;
        let hour: i64 = hour.parse().map_err(|_| StoreError::PageToken)?;
        let whole_hour = Timestamp::from_micros(hour).hour().as_micros() == hour;
        let plain = |id: &str| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if whole_hour && plain(key) && plain(model) {
            Ok(Self { hour, key: key.to_owned(), model: model.to_owned() })
        } else {
            Err(StoreError::PageToken)
        }
    }
}
