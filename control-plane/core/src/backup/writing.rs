//! Makes a backup from one state of a store, piece by piece, sealed before anybody gets it.

use std::{sync::Arc, time::Duration};

use bailiwick_domain::{
    id::BackupId,
    jurisdiction::{Jurisdiction, Local},
    permission::Permission,
    time::Timestamp,
};

use super::{
    BackupError,
    format::{Content, Header, MAGIC, Part, Seal, Stamp, shapes},
};
use crate::{
    caller::Caller,
    control_plane::ControlPlane,
    error::UseCaseError,
    ports::{
        rows::{Cells, RowReader, Table},
        store::{Store, StoreError},
        vault::{DataKey, KeyScope, Vault},
    },
    process_audit,
    records::{BackupRecord, Chain, Page, PageOf},
};

/// Rows in a chunk.
const PAGE: u32 = 500;
/// Best for its time; higher levels take much longer for little.
const COMPRESSION: i32 = 3;
const KEY_VERSION: u32 = 1;
const RECORD: &str = "region.backup";
/// How long a file of keys may be kept at most.
pub const MAX_KEYS_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

/// Bytes to append to one of the two files.
#[derive(Debug)]
pub struct Piece {
    /// Which file.
    pub part: Part,
    /// Bytes; complete chunks, or the file's beginning.
    pub bytes: Vec<u8>,
    /// For people who wait: the table that was just read, and how many of its rows so far.
    pub table: String,
    /// See there.
    pub rows: u64,
}

/// A backup that is being made.
pub struct BackupWriter {
    /// What was noted of it.
    pub record: BackupRecord,
    rows: Box<dyn RowReader>,
    tables: Vec<Table>,
    stamp: Stamp,
    /// The files that are still to be written, the present one first.
    parts: Vec<(Part, Arc<dyn DataKey>, Header)>,
    file: Option<File>,
}

/// The file that is being written.
struct File {
    seal: Seal,
    chunk: u64,
    /// Indices of its tables.
    tables: Vec<usize>,
    /// Rows of those that are through, and of the present one.
    counts: Vec<u64>,
    shape_told: bool,
    after: Option<Cells>,
}

/// What a backup is made of.
pub struct Source<'a> {
    /// Rows.
    pub store: &'a dyn Store,
    /// Seals.
    pub vault: &'a dyn Vault,
    /// The region.
    pub home: &'a Jurisdiction,
    /// Whom the record names.
    pub actor: &'a str,
    /// Build of this process.
    pub build: &'a str,
    /// Now.
    pub now: Timestamp,
}

impl Source<'_> {
    /// Notes the backup, and begins to read. Everything is of the state that the first read sees; the note is committed before, so that a
    /// deletion that comes later knows of it.
    ///
    /// # Errors
    /// The store or the vault refuses.
    pub async fn begin(&self, keys_lifetime: Duration) -> Result<BackupWriter, BackupError> {
        let id: Local<BackupId> = self.home.mint_random(self.now);
        let keys_expire_at = self.now.saturating_add(keys_lifetime.min(MAX_KEYS_LIFETIME));
        let record = BackupRecord { id, created_at: self.now, keys_expire_at };
        let (store, chain) = (self.store, Chain::Region);
        let subject = id.to_string();
        let audit =
            process_audit::draft(store, self.vault, chain, self.now, self.actor, RECORD, subject).await?;
        let mut transaction = store.begin().await?;
        transaction.backup_insert(&record).await?;
        transaction.commit(audit, &[]).await?;

        let mut rows = store.rows().await?;
        let tables = rows.tables().to_vec();
        let stamp = self.stamp(rows.as_mut(), &tables, &record).await?;
        let mut parts = Vec::new();
        for part in Part::ALL {
            let wrapped = self.vault.create_data_key(KeyScope::Backup, KEY_VERSION).await?;
            let key = self.vault.unlock(&wrapped).await?;
            parts.push((part, key, Header::new(part, &stamp, &wrapped)));
        }
        self.vault.forget(KeyScope::Backup);
        Ok(BackupWriter { record, rows, tables, stamp, parts, file: None })
    }

    /// What the store says of itself, in the state that is read.
    async fn stamp(
        &self,
        rows: &mut dyn RowReader,
        tables: &[Table],
        record: &BackupRecord,
    ) -> Result<Stamp, BackupError> {
        let missing = |table, problem: &str| StoreError::Corrupt { table, problem: problem.to_owned() };
        let (identity, cells) = single(rows, tables, "cluster_identity").await?;
        let text = |column: &str| identity.text(&cells, column).map(str::to_owned);
        let unreadable = || missing("cluster_identity", "its row cannot be read");
        let epoch = text("epoch").ok_or_else(unreadable)?;
        let installation = text("installation").ok_or_else(unreadable)?;
        let region = text("region_name").and_then(|name| name.parse().ok()).ok_or_else(unreadable)?;
        let (counter, cells) = single(rows, tables, "region_revision").await?;
        let revision = counter.integer(&cells, "revision").and_then(|number| u64::try_from(number).ok());
        Ok(Stamp {
            backup: record.id.into_inner(),
            region,
            installation,
            epoch,
            revision: revision.ok_or_else(|| missing("region_revision", "its row cannot be read"))?,
            created_at: record.created_at,
            keys_expire_at: record.keys_expire_at,
            build: self.build.to_owned(),
        })
    }
}

/// The row of a table that has one.
async fn single<'t>(
    rows: &mut dyn RowReader,
    tables: &'t [Table],
    name: &'static str,
) -> Result<(&'t Table, Cells), StoreError> {
    let missing = || StoreError::Corrupt { table: name, problem: "its row is missing".to_owned() };
    let (number, table) =
        tables.iter().enumerate().find(|(_, table)| table.name == name).ok_or_else(missing)?;
    let page = rows.page(number, None, 1).await?;
    Ok((table, page.into_iter().next().ok_or_else(missing)?))
}

impl BackupWriter {
    /// The region's revision that is backed up.
    pub fn revision(&self) -> u64 {
        self.stamp.revision
    }

    /// The next piece; `None` after the last of the second file. A backup is whole only then.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn next(&mut self) -> Result<Option<Piece>, BackupError> {
        let Some((part, key, header)) = self.parts.first() else { return Ok(None) };
        let (part, key) = (*part, Arc::clone(key));
        let Some(file) = &mut self.file else {
            let encoded = serde_json::to_vec(header).map_err(encoding)?;
            let here = self.tables.iter().enumerate().filter(|(_, table)| part.holds(&table.name));
            self.file = Some(File {
                seal: Seal::new(header, &encoded),
                chunk: 0,
                tables: here.map(|(number, _)| number).collect(),
                counts: Vec::new(),
                shape_told: false,
                after: None,
            });
            let bytes = [MAGIC.as_slice(), &length(&encoded)?, &encoded].concat();
            return Ok(Some(Piece { part, bytes, table: String::new(), rows: 0 }));
        };
        let (content, table) = file.content(part, self.rows.as_mut(), &self.tables).await?;
        let rows = file.counts.last().copied().unwrap_or_default();
        let last = matches!(content, Content::End(_));
        let bytes = file.sealed(key.as_ref(), last, &content)?;
        if last {
            self.parts.remove(0);
            self.file = None;
        }
        Ok(Some(Piece { part, bytes, table, rows }))
    }
}

impl File {
    async fn content(
        &mut self,
        part: Part,
        rows: &mut dyn RowReader,
        tables: &[Table],
    ) -> Result<(Content, String), BackupError> {
        if !self.shape_told {
            self.shape_told = true;
            return Ok((Content::Shape(shapes(part, tables)), String::new()));
        }
        loop {
            let place = self.counts.len().saturating_sub(usize::from(self.after.is_some()));
            let Some(number) = self.tables.get(place).copied() else {
                return Ok((Content::End(self.counts.clone()), String::new()));
            };
            let page = rows.page(number, self.after.as_deref(), PAGE).await?;
            if self.after.is_none() {
                self.counts.push(0);
            }
            if let Some(count) = self.counts.last_mut() {
                *count += page.len() as u64;
            }
            let table = tables.get(number).ok_or(StoreError::NotFound)?;
            let full = page.len() >= PAGE as usize;
            self.after = page.last().filter(|_| full).map(|last| table.key_of(last));
            if !page.is_empty() {
                return Ok((Content::Rows { table: place, rows: page }, table.name.clone()));
            }
        }
    }

    fn sealed(&mut self, key: &dyn DataKey, last: bool, content: &Content) -> Result<Vec<u8>, BackupError> {
        let json = serde_json::to_vec(content).map_err(encoding)?;
        let packed = zstd::bulk::compress(&json, COMPRESSION).map_err(encoding)?;
        let sealed = self.seal.seal(key, self.chunk, last, &packed)?;
        self.chunk += 1;
        Ok([length(&sealed.0)?.as_slice(), &sealed.0].concat())
    }
}

fn length(bytes: &[u8]) -> Result<[u8; 4], BackupError> {
    u32::try_from(bytes.len()).map(u32::to_be_bytes).map_err(encoding)
}

fn encoding(error: impl std::error::Error + Send + Sync + 'static) -> BackupError {
    BackupError::Encoding(Box::new(error))
}

impl ControlPlane {
    /// Begins a backup of the region. It is read and sealed here: whoever gets it, gets bytes that only the region's master key opens.
    ///
    /// # Errors
    /// `keys_lifetime` is zero or over 90 days; the caller may not.
    pub async fn backup_begin(
        &self,
        caller: &Caller,
        keys_lifetime: Duration,
    ) -> Result<BackupWriter, UseCaseError> {
        let permit = caller.permit_region(Permission::RegionWrite)?;
        if keys_lifetime.is_zero() || keys_lifetime > MAX_KEYS_LIFETIME {
            let rule = "is 1 to 7776000 (90 days)";
            return Err(UseCaseError::invalid("keys_lifetime_seconds", rule));
        }
        let parts = &self.parts;
        let source = Source {
            store: parts.store.as_ref(),
            vault: parts.vault.as_ref(),
            home: &parts.jurisdiction,
            actor: &permit.actor().to_string(),
            build: &parts.settings.build,
            now: self.now(),
        };
        source.begin(keys_lifetime).await.map_err(|error| match error {
            BackupError::Store(error) => error.into(),
            BackupError::Audit(error) => error.into(),
            other => UseCaseError::Internal(Box::new(other)),
        })
    }

    /// Backups that were made, oldest first.
    ///
    /// # Errors
    /// The caller may not; the page token is not ours.
    pub async fn backup_list(
        &self,
        caller: &Caller,
        page: &Page,
    ) -> Result<PageOf<BackupRecord>, UseCaseError> {
        caller.permit_region(Permission::RegionRead)?;
        Ok(self.store().backup_list(page).await?)
    }
}
