//! Reads one file of a backup. Nothing is believed: lengths are bounded, every chunk must open at its place, and the last must be there.

use std::{
    io::{ErrorKind, Read},
    sync::Arc,
};

use super::{
    BackupError,
    format::{Content, Header, MAGIC, MAX_CHUNK, MAX_HEADER, Part, Seal, Shape},
};
use crate::ports::{
    rows::Cells,
    vault::{DataKey, KeyScope, Vault, VaultError},
};

/// A file whose header was read.
pub struct PartFile {
    /// What it says of itself. Only once a chunk has opened is it known to be true.
    pub header: Header,
    part: Part,
    input: Box<dyn Read + Send>,
    seal: Seal,
}

/// A file whose key was unwrapped.
pub struct Chunks {
    part: Part,
    input: Box<dyn Read + Send>,
    seal: Seal,
    key: Arc<dyn DataKey>,
    number: u64,
    /// The chunk that comes next: whether it is the last is known once it is known what follows it.
    next: Option<Vec<u8>>,
    shapes: Vec<Shape>,
    counts: Vec<u64>,
}

impl PartFile {
    /// Reads the header.
    ///
    /// # Errors
    /// [`BackupError::NotABackup`], also for a file of the other part.
    pub fn open(part: Part, mut input: Box<dyn Read + Send>) -> Result<Self, BackupError> {
        let not = |problem| BackupError::NotABackup { part, problem };
        let mut magic = [0; MAGIC.len()];
        fill(part, &mut input, &mut magic)?.ok_or_else(|| not("it is too short"))?;
        if magic != *MAGIC {
            return Err(not("it begins with something else"));
        }
        let encoded = block(part, &mut input, MAX_HEADER)?.ok_or_else(|| not("it has no header"))?;
        let header: Header =
            serde_json::from_slice(&encoded).map_err(|_| not("its header cannot be read"))?;
        if header.part != part {
            return Err(not("it is the other file of a backup"));
        }
        let seal = Seal::new(&header, &encoded);
        Ok(Self { header, part, input, seal })
    }

    /// Unwraps the file's key.
    ///
    /// # Errors
    /// [`BackupError::Damaged`]: the key does not unwrap here.
    pub async fn unlock(self, vault: &dyn Vault) -> Result<Chunks, BackupError> {
        let Self { header, part, mut input, seal } = self;
        let problem = "its format is another one";
        let wrapped = header.wrapped_key().ok_or(BackupError::NotABackup { part, problem })?;
        let key = match vault.unlock(&wrapped).await {
            Err(VaultError::DoesNotOpen) => return Err(BackupError::Damaged { part, chunk: 0 }),
            unlocked => unlocked?,
        };
        vault.forget(KeyScope::Backup);
        let next = block(part, &mut input, MAX_CHUNK)?;
        if next.is_none() {
            return Err(BackupError::Damaged { part, chunk: 0 });
        }
        Ok(Chunks { part, input, seal, key, number: 0, next, shapes: Vec::new(), counts: Vec::new() })
    }
}

impl Chunks {
    /// The tables of the file; known after the first rows, or the end.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// The next rows: the place of their table among [`Self::shapes`], and them. `None` once the last chunk was opened and everything is there.
    ///
    /// # Errors
    /// [`BackupError::Damaged`].
    pub fn rows(&mut self) -> Result<Option<(usize, Vec<Cells>)>, BackupError> {
        loop {
            let damaged = BackupError::Damaged { part: self.part, chunk: self.number };
            let Some(content) = self.content()? else { return Ok(None) };
            match content {
                Content::Shape(shapes) if self.shapes.is_empty() => {
                    self.counts = vec![0; shapes.len()];
                    self.shapes = shapes;
                }
                Content::Rows { table, rows } => {
                    let count = self.counts.get_mut(table).ok_or(damaged)?;
                    *count += rows.len() as u64;
                    return Ok(Some((table, rows)));
                }
                Content::End(counts) if counts == self.counts && self.next.is_none() => {}
                Content::Shape(_) | Content::End(_) => return Err(damaged),
            }
        }
    }

    fn content(&mut self) -> Result<Option<Content>, BackupError> {
        let Some(sealed) = self.next.take() else { return Ok(None) };
        self.next = block(self.part, &mut self.input, MAX_CHUNK)?;
        let damaged = || BackupError::Damaged { part: self.part, chunk: self.number };
        let last = self.next.is_none();
        let opened = self.seal.open(self.key.as_ref(), self.number, last, sealed).ok_or_else(damaged)?;
        let json = zstd::bulk::decompress(&opened, MAX_CHUNK).map_err(|_| damaged())?;
        let content: Content = serde_json::from_slice(&json).map_err(|_| damaged())?;
        if last != matches!(content, Content::End(_)) {
            return Err(damaged());
        }
        self.number += 1;
        Ok(Some(content))
    }
}

/// Bytes preceded by their length. `None`: the file ends here.
fn block(part: Part, input: &mut dyn Read, most: usize) -> Result<Option<Vec<u8>>, BackupError> {
    let problem = "it ends in the middle, or a length in it is out of bounds";
    let cut = || BackupError::NotABackup { part, problem };
    let mut length = [0; 4];
    if fill(part, input, &mut length)?.is_none() {
        return Ok(None);
    }
    let length = usize::try_from(u32::from_be_bytes(length)).ok().filter(|length| *length <= most);
    let mut bytes = vec![0; length.ok_or_else(cut)?];
    fill(part, input, &mut bytes)?.ok_or_else(cut)?;
    Ok(Some(bytes))
}

/// `None`: nothing was left. What ends in the middle is an error.
fn fill(part: Part, input: &mut dyn Read, bytes: &mut [u8]) -> Result<Option<()>, BackupError> {
    let mut read = 0;
    while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) if read == 0 => return Ok(None),
            Ok(0) => {
                let problem = "it ends in the middle";
                return Err(BackupError::NotABackup { part, problem });
            }
            Ok(more) => read += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(source) => return Err(BackupError::Read { part, source }),
        }
    }
    Ok(Some(()))
}
