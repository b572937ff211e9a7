//! Brings the schema up to this build.

use bailiwick_core::ports::store::StoreError;
use bailiwick_domain::region::RegionCode;
use sqlx::{
    AnyConnection, AssertSqlSafe, Connection, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
    query,
};

use crate::{backend::Backend, error, session::Db};

struct Step {
    version: i64,
    description: &'static str,
    /// `None`: on both backends.
    only: Option<Backend>,
    sql: &'static str,
}

/// Steps are never changed once released: their checksums are compared.
const STEPS: &[Step] = &[
    Step {
        version: 1,
        description: "region",
        only: None,
        sql: include_str!("../migrations/0001_region.sql"),
    },
    Step {
        version: 2,
        description: "room for updates",
        only: Some(Backend::Postgres),
        sql: include_str!("../migrations/0002_room_for_updates.postgres.sql"),
    },
    Step {
        version: 3,
        description: "key material",
        only: None,
        sql: include_str!("../migrations/0003_key_material.sql"),
    },
    Step {
        version: 4,
        description: "backup and destruction",
        only: None,
        sql: include_str!("../migrations/0004_backup_and_destruction.sql"),
    },
    Step { version: 6, description: "fleet", only: None, sql: include_str!("../migrations/0006_fleet.sql") },
    Step {
        version: 8,
        description: "authority",
        only: None,
        sql: include_str!("../migrations/0008_authority.sql"),
    },
    Step {
        version: 9,
        description: "residency",
        only: None,
        sql: include_str!("../migrations/0009_residency.sql"),
    },
    Step {
        version: 11,
        description: "service accounts",
        only: None,
        sql: include_str!("../migrations/0011_service_accounts.sql"),
    },
    Step {
        version: 13,
        description: "limits",
        only: None,
        sql: include_str!("../migrations/0013_limits.sql"),
    },
    Step { version: 14, description: "quota", only: None, sql: include_str!("../migrations/0014_quota.sql") },
    Step {
        version: 15,
        description: "routing",
        only: None,
        sql: include_str!("../migrations/0015_routing.sql"),
    },
    Step {
        version: 16,
        description: "allowed ranges",
        only: None,
        sql: include_str!("../migrations/0016_allowed_ranges.sql"),
    },
    Step {
        version: 17,
        description: "api version",
        only: None,
        sql: include_str!("../migrations/0017_api_version.sql"),
    },
    Step {
        version: 18,
        description: "metering",
        only: None,
        sql: include_str!("../migrations/0018_metering.sql"),
    },
    Step {
        version: 19,
        description: "contract prices",
        only: None,
        sql: include_str!("../migrations/0019_contract_prices.sql"),
    },
    Step {
        version: 20,
        description: "deployment limits",
        only: None,
        sql: include_str!("../migrations/0020_deployment_limits.sql"),
    },
    Step {
        version: 21,
        description: "packed usage",
        only: None,
        sql: include_str!("../migrations/0021_packed_usage.sql"),
    },
    Step {
        version: 22,
        description: "usage blocks",
        only: None,
        sql: include_str!("../migrations/0022_usage_blocks.sql"),
    },
    Step {
        version: 23,
        description: "blocks as they are",
        only: Some(Backend::Postgres),
        sql: include_str!("../migrations/0023_blocks_as_they_are.postgres.sql"),
    },
    Step {
        version: 24,
        description: "narrow blocks",
        only: None,
        sql: include_str!("../migrations/0024_narrow_blocks.sql"),
    },
    Step {
        version: 25,
        description: "narrow blocks as they are",
        only: Some(Backend::Postgres),
        sql: include_str!("../migrations/0025_narrow_blocks_as_they_are.postgres.sql"),
    },
];

/// Runs the steps that this store has not had. Replicas that start together take turns.
///
/// # Errors
/// The store was made by a newer build, or a step was changed since it ran.
pub(crate) async fn run(
    connection: &mut AnyConnection,
    backend: Backend,
    region: RegionCode,
) -> Result<(), StoreError> {
    let steps = STEPS.iter().filter(|step| step.only.is_none_or(|only| only == backend));
    let migrations = steps.map(|step| {
        let sql = AssertSqlSafe(fill_in(step.sql, backend, region)).into_sql_str();
        Migration::new(step.version, step.description.into(), MigrationType::Simple, sql, false)
    });
    let migrator = Migrator::with_migrations(migrations.collect());
    match backend {
        // Here the migrator has no lock of its own.
        Backend::Sqlite => {
            let mut all = connection.begin_with(backend.begin_write()).await.map_err(error::of)?;
            migrator.run(&mut *all).await.map_err(error::of_migration)?;
            all.commit().await.map_err(error::of)
        }
        Backend::Postgres => migrator.run(connection).await.map_err(error::of_migration),
    }
}

/// The newest step that this build knows for a backend.
fn newest(backend: Backend) -> i64 {
    let steps = STEPS.iter().filter(|step| step.only.is_none_or(|only| only == backend));
    steps.map(|step| step.version).max().unwrap_or_default()
}

/// Refuses a store whose newest step is not this build's.
pub(crate) async fn check(db: &mut Db<'_>) -> Result<(), StoreError> {
    let statement = query("SELECT MAX(version) AS newest FROM _sqlx_migrations");
    let found: i64 = db.one("_sqlx_migrations", statement, |row| row.integer("newest")).await?;
    match found == newest(db.backend) {
        true => Ok(()),
        false => Err(error::refused(
            "the store's schema is of another build: use that one, or let this one's `init` bring it up to date",
        )),
    }
}

/// A region's short form is letters and digits by its type, so that it can stand in a statement.
fn fill_in(sql: &str, backend: Backend, region: RegionCode) -> String {
    // Identifiers sort by their bytes on both, whatever the server's locale.
    let (text, blob) = match backend {
        Backend::Sqlite => ("TEXT", "BLOB"),
        Backend::Postgres => ("TEXT COLLATE \"C\"", "BYTEA"),
    };
    sql.replace("{region}", region.as_str()).replace("{text}", text).replace("{blob}", blob)
}
