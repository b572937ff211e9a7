//! A store of one's own for each test, and a way around it for tests that tamper.

use bailiwick_domain::{
    jurisdiction::Jurisdiction,
    region::{Region, Regions},
    time::Timestamp,
};
use bailiwick_store::{ExpectedIdentity, SqlStore};
use sqlx::{AnyConnection, AssertSqlSafe, Connection};
use url::Url;

pub(crate) const POSTGRES_URL: &str = "BAILIWICK_TEST_POSTGRES_URL";
pub(crate) const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

pub(crate) struct Fixture {
    pub(crate) store: SqlStore,
    pub(crate) home: Jurisdiction,
    pub(crate) url: String,
    place: Place,
}

enum Place {
    Folder(tempfile::TempDir),
    Database { server: String, name: String },
}

impl Fixture {
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite://{}/region.db", folder.path().display());
        Self::open(url, Place::Folder(folder)).await
    }

    /// `None` where no server is named.
    pub(crate) async fn postgres() -> Option<Self> {
        let server = setting(POSTGRES_URL)?;
        let name = format!("bailiwick_{:032x}", rand::random::<u128>());
        let mut url = Url::parse(&server).expect("the server's URL");
        url.set_path(&name);
        execute(&server, &format!("CREATE DATABASE {name}")).await;
        Some(Self::open(url.to_string(), Place::Database { server, name }).await)
    }

    async fn open(url: String, place: Place) -> Self {
        let store = SqlStore::open(&url, &expected("eu-central-1")).await.expect("a new store opens");
        Self { store, home: Jurisdiction::of(&region("eu-central-1")), url, place }
    }

    pub(crate) async fn finish(self) {
        self.store.close().await;
        match self.place {
            Place::Folder(folder) => folder.close().expect("the folder is removed"),
            Place::Database { server, name } => {
                execute(&server, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
            }
        }
    }

    /// A store that nobody has opened yet. On PostgreSQL this is the test's own one, emptied.
    pub(crate) async fn empty_store(&self) -> String {
        match &self.place {
            Place::Folder(folder) => format!("sqlite://{}/empty.db", folder.path().display()),
            Place::Database { .. } => {
                self.tamper("DROP SCHEMA public CASCADE").await;
                self.tamper("CREATE SCHEMA public").await;
                self.url.clone()
            }
        }
    }

    /// Runs a statement past the store.
    pub(crate) async fn tamper(&self, sql: &str) -> u64 {
        execute(&self.url, sql).await
    }

    /// As [`Self::tamper`], where references between tables are not checked: the database's own tools can do that.
    pub(crate) async fn tamper_past_references(&self, sql: &str) -> u64 {
        let unchecked = match self.place {
            Place::Folder(_) => "PRAGMA foreign_keys = OFF",
            Place::Database { .. } => "SET session_replication_role = replica",
        };
        let mut connection = AnyConnection::connect(&self.url).await.expect("connects");
        let mut affected = 0;
        for sql in [unchecked, sql] {
            let done =
                sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.expect("runs");
            affected = done.rows_affected();
        }
        connection.close().await.expect("closes");
        affected
    }

    /// As [`Self::tamper`], and tells whether the database refused.
    pub(crate) async fn is_refused(&self, sql: &str) -> bool {
        try_execute(&self.url, sql).await.is_err()
    }

    /// The single number that a query answers with.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let mut connection = AnyConnection::connect(&self.url).await.expect("connects");
        let query = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()));
        let number = query.fetch_one(&mut connection).await.expect("a number");
        connection.close().await.expect("closes");
        number
    }
}

async fn execute(url: &str, sql: &str) -> u64 {
    try_execute(url, sql).await.expect("the statement runs")
}

async fn try_execute(url: &str, sql: &str) -> Result<u64, sqlx::Error> {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(url).await?;
    let done = sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await?;
    connection.close().await?;
    Ok(done.rows_affected())
}

pub(crate) fn region(name: &str) -> Region {
    Regions::builtin().by_name_str(name).expect("a built-in region").clone()
}

pub(crate) fn expected(name: &str) -> ExpectedIdentity {
    ExpectedIdentity { region: region(name), installation: "local".to_owned(), now: NOW }
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests have no configuration; this is how they are told of a server"
)]
pub(crate) fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
