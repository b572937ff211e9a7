//! Whose store it is. R2 and R5 start here: a store of another region or installation is not opened.

use bailiwick_core::{ports::store::StoreError, records::ClusterIdentity};
use bailiwick_domain::{guard::Guard, region::Region, time::Timestamp};
use sqlx::query;
use ulid::Ulid;

use crate::{error, row::Row, session::Db};

const TABLE: &str = "cluster_identity";

/// Who opens the store.
#[derive(Clone, Debug)]
pub struct ExpectedIdentity {
    /// Region of this process.
    pub region: Region,
    /// Installation of this process, e.g. `local`.
    pub installation: String,
    /// Written as the store's beginning when it is new.
    pub now: Timestamp,
}

impl ExpectedIdentity {
    fn admit(&self, found: &ClusterIdentity) -> Result<(), StoreError> {
        let ours = found.region == self.region.name && found.installation == self.installation;
        if ours || !Guard::StoreIdentity.stands() {
            return Ok(());
        }
        Err(StoreError::ForeignStore {
            found: format!("{}.{}", found.region, found.installation),
            expected: format!("{}.{}", self.region.name, self.installation),
        })
    }
}

/// Refuses a foreign store before anything is written to it. A store without tables is nobody's yet.
pub(crate) async fn refuse_foreign(db: &mut Db<'_>, expected: &ExpectedIdentity) -> Result<(), StoreError> {
    match owner(db).await? {
        Some(found) => expected.admit(&found),
        None => Ok(()),
    }
}

/// Refuses nobody's store too.
pub(crate) async fn refuse_all_but(db: &mut Db<'_>, expected: &ExpectedIdentity) -> Result<(), StoreError> {
    match owner(db).await? {
        Some(found) => expected.admit(&found),
        None => Err(error::refused("there is no region in this store")),
    }
}

/// Whose store it is, if anybody's.
async fn owner(db: &mut Db<'_>) -> Result<Option<ClusterIdentity>, StoreError> {
    let statement = query("SELECT region_name, installation, epoch, created_at FROM cluster_identity");
    match statement.fetch_optional(&mut *db.connection).await {
        Ok(Some(row)) => read(Row::new(&row, TABLE, db.home)).map(Some),
        Ok(None) => Ok(None),
        Err(error) if error::is_missing_table(&error) => Ok(None),
        Err(error) => Err(error::of(error)),
    }
}

/// Takes a new store into possession. Of two processes that do so at once, one wins, and both compare with what it wrote.
pub(crate) async fn establish(db: &mut Db<'_>, expected: &ExpectedIdentity) -> Result<(), StoreError> {
    let epoch = Ulid::from_parts(expected.now.as_millis(), rand::random()).to_string();
    let statement = query(
        "INSERT INTO cluster_identity (region_name, installation, epoch, created_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT DO NOTHING",
    );
    let name = expected.region.name.as_str();
    let statement = statement.bind(name).bind(expected.installation.as_str()).bind(epoch);
    db.execute(statement.bind(expected.now.as_micros())).await?;
    db.execute(query("INSERT INTO region_revision (revision) VALUES (0) ON CONFLICT DO NOTHING")).await?;
    expected.admit(&fetch(db).await?)
}

pub(crate) async fn fetch(db: &mut Db<'_>) -> Result<ClusterIdentity, StoreError> {
    let statement = query("SELECT region_name, installation, epoch, created_at FROM cluster_identity");
    db.one(TABLE, statement, read).await
}

fn read(row: Row<'_>) -> Result<ClusterIdentity, StoreError> {
    Ok(ClusterIdentity {
        region: row.parsed("region_name")?,
        installation: row.text("installation")?.to_owned(),
        epoch: row.text("epoch")?.to_owned(),
        created_at: row.time("created_at")?,
    })
}
