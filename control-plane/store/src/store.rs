//! The store of one region: its connections, and how they are used. What it keeps is in `port`.

mod port;

use std::sync::{Arc, OnceLock};

use bailiwick_core::ports::{rows::Table, store::StoreError};
use bailiwick_domain::jurisdiction::Jurisdiction;
use sqlx::{Any, AnyPool, pool::PoolConnection};

use crate::{
    backend::Pools,
    configuration, error, identity,
    identity::ExpectedIdentity,
    migrate, rows,
    session::{Db, Session},
};

type Reading = Session<PoolConnection<Any>>;
pub(crate) type InTransaction = Session<sqlx::Transaction<'static, Any>>;

/// The store of one region. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SqlStore {
    pools: Pools,
    home: Arc<Jurisdiction>,
    /// What tables there are, once somebody asked.
    tables: Arc<OnceLock<Vec<Table>>>,
}

impl SqlStore {
    /// Opens the store, makes it when it is new, and brings its schema up to date. `url`: `sqlite:///path/region.db` or
    /// `postgres://user@host/database`.
    ///
    /// # Errors
    /// [`StoreError::ForeignStore`] when it is another region's or installation's: nothing is written then.
    /// [`StoreError::Unavailable`] when it cannot be reached. [`StoreError::Database`] for a bad URL, or a schema that a newer build made.
    pub async fn open(url: &str, expected: &ExpectedIdentity) -> Result<Self, StoreError> {
        let pools = Pools::connect(url).await?;
        let store = Self::of(pools, expected);
        let mut session = store.connection(&store.pools.writer).await?;
        identity::refuse_foreign(&mut session.db(), expected).await?;
        migrate::run(&mut session.connection, store.pools.backend, expected.region.code).await?;
        identity::establish(&mut session.db(), expected).await?;
        Ok(store)
    }

    /// Opens a store that is there already, and changes nothing in it: neither its schema nor whose it is.
    ///
    /// # Errors
    /// As [`Self::open`]; also when nobody's store is there, or its schema is not this build's.
    pub async fn open_as_it_is(url: &str, expected: &ExpectedIdentity) -> Result<Self, StoreError> {
        let pools = Pools::connect_to_existing(url).await?;
        let store = Self::of(pools, expected);
        let mut session = store.connection(&store.pools.writer).await?;
        identity::refuse_all_but(&mut session.db(), expected).await?;
        migrate::check(&mut session.db()).await?;
        Ok(store)
    }

    /// Forgets all but the newest `keep` revisions of the configuration log: whoever is further behind takes a snapshot.
    pub async fn trim_configuration_log(&self, keep: u64) -> Result<(), StoreError> {
        let mut transaction = self.write().await?;
        configuration::trim(&mut transaction.db(), keep).await?;
        transaction.connection.commit().await.map_err(error::of)
    }

    /// Waits for running statements, then closes every connection.
    pub async fn close(&self) {
        self.pools.readers.close().await;
        self.pools.writer.close().await;
    }

    fn of(pools: Pools, expected: &ExpectedIdentity) -> Self {
        Self { pools, home: Arc::new(Jurisdiction::of(&expected.region)), tables: Arc::default() }
    }

    /// Tables do not change while the store is open: migrations ran before.
    async fn tables(&self, db: &mut Db<'_>) -> Result<&[Table], StoreError> {
        if let Some(known) = self.tables.get() {
            return Ok(known);
        }
        let found = rows::tables(db).await?;
        Ok(self.tables.get_or_init(|| found))
    }

    /// For single statements.
    async fn read(&self) -> Result<Reading, StoreError> {
        self.connection(&self.pools.readers).await
    }

    /// For several statements that must see one state.
    pub(crate) async fn snapshot(&self) -> Result<InTransaction, StoreError> {
        self.transaction(&self.pools.readers, self.pools.backend.begin_snapshot()).await
    }

    pub(crate) async fn write(&self) -> Result<InTransaction, StoreError> {
        self.transaction(&self.pools.writer, self.pools.backend.begin_write()).await
    }

    async fn connection(&self, pool: &AnyPool) -> Result<Reading, StoreError> {
        let connection = pool.acquire().await.map_err(error::of)?;
        Ok(Session { connection, home: Arc::clone(&self.home), backend: self.pools.backend })
    }

    async fn transaction(&self, pool: &AnyPool, begin: &'static str) -> Result<InTransaction, StoreError> {
        let connection = pool.begin_with(begin).await.map_err(error::of)?;
        Ok(Session { connection, home: Arc::clone(&self.home), backend: self.pools.backend })
    }
}
