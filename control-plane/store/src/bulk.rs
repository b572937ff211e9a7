//! Many rows in one statement.
//!
//! A statement's text depends on how many rows it holds, and is prepared once per connection: so rows go in chunks of a power of two, and a
//! handful of texts serves every count.

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use crate::backend::Backend;

/// 512 rows of the widest of them stay far below SQLite's 32,766 parameters and PostgreSQL's 65,535.
const LARGEST: usize = 512;

/// Splits into the largest powers of two that fit.
pub(crate) fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let largest = 1_usize.checked_shl(rows.len().checked_ilog2()?)?.min(LARGEST);
        let (chunk, rest) = rows.split_at_checked(largest)?;
        rows = rest;
        Some(chunk)
    })
}

/// `before (…), (…) after` with a placeholder for each column of each row; the parts are literals of ours.
pub(crate) fn statement(
    backend: Backend,
    before: &'static str,
    rows: usize,
    columns: usize,
    after: &'static str,
) -> SqlStr {
    let mut sql = String::with_capacity(before.len() + rows * columns * 7 + after.len());
    sql.push_str(before);
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            sql.push_str(if column == 0 { "" } else { "," });
            placeholder(&mut sql, backend, row * columns + column + 1);
        }
        sql.push(')');
    }
    sql.push_str(after);
    AssertSqlSafe(sql).into_sql_str()
}

/// SQLite looks a `$1` up by its name, in a list, each time that it is bound: with thousands of them that takes longer than the insert.
fn placeholder(sql: &mut String, backend: Backend, number: usize) {
    match backend {
        Backend::Sqlite => sql.push('?'),
        Backend::Postgres => {
            sql.push('$');
            sql.push_str(&number.to_string());
        }
    }
}

#[cfg(test)]
mod tests;
