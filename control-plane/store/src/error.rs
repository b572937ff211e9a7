//! One table from what the drivers say to [`StoreError`].

use bailiwick_core::ports::store::StoreError;
use sqlx::error::{DatabaseError, ErrorKind};

/// Maps a driver's error: what trying again later can help is [`StoreError::Unavailable`].
pub(crate) fn of(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(said) => {
            let refusal = Refusal::of(said.as_ref());
            if transient(&refusal.code) {
                StoreError::Unavailable(Box::new(refusal))
            } else {
                StoreError::Database(Box::new(refusal))
            }
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => StoreError::Unavailable(Box::new(error)),
        other => StoreError::Database(Box::new(other)),
    }
}

/// As [`of`], but a broken uniqueness or reference rule is a conflict with `rule`.
pub(crate) fn conflict(rule: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |error| {
        let kind = error.as_database_error().map(DatabaseError::kind);
        match kind {
            Some(ErrorKind::UniqueViolation | ErrorKind::ForeignKeyViolation) => StoreError::Conflict(rule),
            _ => of(error),
        }
    }
}

/// A migration that does not run.
pub(crate) fn of_migration(error: sqlx::migrate::MigrateError) -> StoreError {
    match error {
        sqlx::migrate::MigrateError::Execute(error) => of(error),
        other => StoreError::Database(Box::new(other)),
    }
}

/// Refuses in words of our own.
pub(crate) fn refused(why: &'static str) -> StoreError {
    StoreError::Database(why.into())
}

/// Whether the statement named a table that is not there yet.
pub(crate) fn is_missing_table(error: &sqlx::Error) -> bool {
    let missing = |said: &dyn DatabaseError| {
        said.code().as_deref() == Some("42P01") || said.message().starts_with("no such table")
    };
    error.as_database_error().is_some_and(missing)
}

/// SQLSTATE classes and SQLite result codes (the low byte) of what passes: lost or refused connections, deadlocks and serialization
/// failures, locks, full disks, a server that shuts down or is not the primary any more.
fn transient(code: &str) -> bool {
    const SQLITE: [u32; 6] = [5, 6, 8, 10, 13, 14];
    match code.parse::<u32>() {
        Ok(number) if code.len() < 5 => SQLITE.contains(&(number & 0xff)),
        _ => {
            ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class))
                || ["25006", "55P03"].contains(&code)
        }
    }
}

/// What the database said, without the rows that PostgreSQL's own error carries in its detail.
#[derive(Debug, thiserror::Error)]
#[error("{message} ({code})")]
struct Refusal {
    code: String,
    message: String,
}

impl Refusal {
    fn of(said: &dyn DatabaseError) -> Self {
        let code = said.code().map(Into::into).unwrap_or_default();
        Self { code, message: said.message().to_owned() }
    }
}
