//! What the two backends do differently: how they are opened, and how their transactions begin.

use std::{net::IpAddr, str::FromStr, time::Duration};

use bailiwick_core::ports::store::StoreError;
use sqlx::{
    Any, AnyPool, ConnectOptions,
    any::{AnyConnectOptions, AnyPoolOptions, install_default_drivers},
    postgres::{PgConnectOptions, PgSslMode},
    sqlite::SqliteConnectOptions,
};

use crate::error;

/// How long a caller waits for a connection, and on SQLite for another process's lock, before the store counts as unavailable.
const PATIENCE: Duration = Duration::from_secs(10);
const SQLITE_READERS: u32 = 4;
const POSTGRES_CONNECTIONS: u32 = 16;

/// Settings of each SQLite connection. `synchronous = FULL`: what was acknowledged survives a power cut. `secure_delete`: destroyed
/// data keys are overwritten, not only unlinked.
const SQLITE_SETTINGS: &str = "PRAGMA busy_timeout = 10000; PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; \
     PRAGMA secure_delete = ON; PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -32000";

/// Settings of the one that writes. Large pages: usage comes at the end of its table, and each page of it costs two writes to the log and one to the file. A store that is there
/// already keeps its own size. The log is folded in when it has grown to 16 MiB.
const SQLITE_WRITER: &str =
    "PRAGMA page_size = 16384; PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 1000";

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

impl Backend {
    fn of_url(url: &str) -> Result<Self, StoreError> {
        match url.split_once(':') {
            Some(("sqlite", _)) => Ok(Self::Sqlite),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres),
            _ => Err(error::refused("the store's URL starts with sqlite: or postgres:")),
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }

    /// Begins a mutation. SQLite takes its write lock at once: a lock taken later can fail half-way.
    pub(crate) fn begin_write(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// Begins a reading transaction in which every statement sees the same state.
    pub(crate) fn begin_snapshot(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }
}

/// Where statements run. On SQLite, one connection writes and others read beside it; on PostgreSQL both are one pool.
#[derive(Clone, Debug)]
pub(crate) struct Pools {
    pub(crate) backend: Backend,
    pub(crate) readers: AnyPool,
    pub(crate) writer: AnyPool,
}

impl Pools {
    /// Connects to what is there: a SQLite file is not made.
    pub(crate) async fn connect_to_existing(url: &str) -> Result<Self, StoreError> {
        if Backend::of_url(url)? == Backend::Sqlite {
            let file = SqliteConnectOptions::from_str(url).map_err(error::of)?;
            std::fs::metadata(file.get_filename()).map_err(|source| error::of(sqlx::Error::Io(source)))?;
        }
        Self::connect(url).await
    }

    /// Connects. A SQLite file is made when it is missing, readable by its owner alone.
    pub(crate) async fn connect(url: &str) -> Result<Self, StoreError> {
        install_default_drivers();
        let backend = Backend::of_url(url)?;
        // Statements hold no values, but the long ones of usage would drown a log.
        let options = AnyConnectOptions::from_str(url).map_err(error::of)?.disable_statement_logging();
        match backend {
            Backend::Sqlite => {
                let file = SqliteConnectOptions::from_str(url).map_err(error::of)?;
                sqlite_file(file.get_filename())?;
                let writer = sqlite_pool(1, SQLITE_WRITER);
                let writer = writer.connect_with(options.clone()).await.map_err(error::of)?;
                let readers = sqlite_pool(SQLITE_READERS, "PRAGMA query_only = ON");
                Ok(Self { backend, readers: readers.connect_lazy_with(options), writer })
            }
            Backend::Postgres => {
                refuse_clear_text(&PgConnectOptions::from_str(url).map_err(error::of)?)?;
                let pool = patient(POSTGRES_CONNECTIONS).connect_with(options).await.map_err(error::of)?;
                Ok(Self { backend, readers: pool.clone(), writer: pool })
            }
        }
    }
}

/// A region's accounts cross no network unless the server has proved who it is: the milder modes of `sslmode` encrypt when the server offers it, to
/// whoever answers.
fn refuse_clear_text(options: &PgConnectOptions) -> Result<(), StoreError> {
    let host = options.get_host();
    let is_here = host.starts_with('/')
        || host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let is_verified = matches!(options.get_ssl_mode(), PgSslMode::VerifyCa | PgSslMode::VerifyFull);
    if options.get_socket().is_some() || is_here || is_verified {
        Ok(())
    } else {
        Err(error::refused(
            "a PostgreSQL server on another machine is reached over verified TLS only: add ?sslmode=verify-full to the store's URL, \
             and &sslrootcert=FILE where its certificate is of an authority of your own",
        ))
    }
}

fn patient(connections: u32) -> AnyPoolOptions {
    sqlx::pool::PoolOptions::<Any>::new().max_connections(connections).acquire_timeout(PATIENCE)
}

fn sqlite_pool(connections: u32, settings: &'static str) -> AnyPoolOptions {
    // Nothing is gained by closing them: they are open files.
    patient(connections).idle_timeout(None).max_lifetime(None).after_connect(move |connection, _| {
        Box::pin(async move {
            sqlx::raw_sql(SQLITE_SETTINGS).execute(&mut *connection).await?;
            sqlx::raw_sql(settings).execute(connection).await?;
            Ok(())
        })
    })
}

/// Makes the file before SQLite does, which would let the umask decide who may read it. Its journal files take its mode.
fn sqlite_file(path: &std::path::Path) -> Result<(), StoreError> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

    let unavailable = |source| error::of(sqlx::Error::Io(source));
    if path.to_string_lossy().starts_with("file:sqlx-in-memory") {
        return Err(error::refused("the store is a file: one in memory would forget"));
    }
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true).mode(0o600).open(path).map_err(unavailable)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_new_file_has_large_pages() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("region.db").display());
        let pools = Pools::connect(&url).await.expect("opens");
        let asked = sqlx::query_scalar::<_, i64>("PRAGMA page_size").fetch_one(&pools.writer).await;
        assert_eq!(asked.expect("answers"), 16384);
    }

    #[test]
    fn r4_a_server_on_another_machine_is_reached_over_verified_tls_or_not_at_all() {
        let judge = |url: &str| refuse_clear_text(&PgConnectOptions::from_str(url).expect("a URL"));
        for refused in [
            "postgres://u@db.internal/region",
            "postgres://u@db.internal/region?sslmode=disable",
            "postgres://u@db.internal/region?sslmode=prefer",
            "postgres://u@db.internal/region?sslmode=require",
            "postgres://u@10.0.0.1/region",
            "postgres://u@localhost.example/region",
        ] {
            assert!(judge(refused).is_err(), "{refused}");
        }
        for allowed in [
            "postgres://u@db.internal/region?sslmode=verify-full",
            "postgres://u@db.internal/region?sslmode=verify-ca",
            "postgres://u@127.0.0.1/region",
            "postgres://u@localhost/region?host=%2Frun%2Fpostgresql",
        ] {
            judge(allowed).expect(allowed);
        }
    }
}
