//! `bailiwick region backup`, and what is left of a deleted organization.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    time::Duration,
};

use bailiwick_proto::admin::v1::{
    Backup, BackupPart, CreateBackupRequest, GetDestructionRequest, ListBackupsRequest,
    create_backup_response::Message,
};

use crate::{
    connection::{Connection, EVERYTHING, pages, request},
    failure::Failure,
    output::{Output, Record},
};

/// Rows between two lines of progress.
const TOLD_EVERY: u64 = 50_000;

/// Writes the two files of a backup into a new folder. What is not whole has another name, and is no backup.
pub(crate) async fn create(
    connection: &Connection,
    output: &Output,
    folder: &Path,
    keys_lifetime: Duration,
) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::failed(format!("cannot write to {}: {error}", folder.display()));
    let seconds = u32::try_from(keys_lifetime.as_secs()).ok().filter(|seconds| *seconds > 0);
    let keys_lifetime_seconds =
        seconds.ok_or_else(|| Failure::usage("--keys-for: from 1 second to 90 days"))?;
    DirBuilder::new().mode(0o700).recursive(true).create(folder).map_err(failed)?;
    let mut data = file(folder, "data").map_err(failed)?;
    let mut keys = file(folder, "keys").map_err(failed)?;
    // It takes as long as it takes: no deadline.
    let message = tonic::Request::new(CreateBackupRequest { keys_lifetime_seconds });
    let mut stream = connection.backup().create_backup(message).await?.into_inner();
    let (mut begun, mut told) = (Backup::default(), 0);
    while let Some(answer) = stream.message().await? {
        match answer.message {
            Some(Message::Begun(backup)) => begun = backup,
            Some(Message::Bytes(piece)) => {
                let into = if piece.part() == BackupPart::Keys { &mut keys } else { &mut data };
                into.write_all(&piece.bytes).map_err(failed)?;
                if piece.rows >= told + TOLD_EVERY {
                    told = piece.rows;
                    output.note(&format!("{}: {} rows", piece.table, piece.rows));
                }
            }
            None => {}
        }
    }
    for (file, name) in [(data, "data"), (keys, "keys")] {
        file.sync_all().map_err(failed)?;
        let unfinished = folder.join(format!("{name}.unfinished"));
        std::fs::rename(unfinished, folder.join(format!("{name}.bailiwick"))).map_err(failed)?;
    }
    output
        .one(&record(&begun).count("revision", begun.revision).text("folder", folder.display().to_string()));
    output.note(
        "keep keys.bailiwick apart from data.bailiwick, and delete it when it expires: as long as it exists, it can bring back whom you delete",
    );
    Ok(())
}

/// Sealed, but nobody else's to copy.
fn file(folder: &Path, name: &str) -> io::Result<File> {
    let whole = folder.join(format!("{name}.bailiwick"));
    if whole.exists() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a backup already"));
    }
    let path = folder.join(format!("{name}.unfinished"));
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

pub(crate) async fn list(connection: &Connection, output: &Output) -> Result<(), Failure> {
    let mut client = connection.backup();
    let backups = pages(EVERYTHING, async |page| {
        let answer =
            client.list_backups(request(ListBackupsRequest { page: Some(page) })).await?.into_inner();
        Ok((answer.backups, answer.page))
    });
    output.list(&backups.await?.iter().map(record).collect::<Vec<_>>());
    Ok(())
}

fn record(backup: &Backup) -> Record {
    Record::default()
        .text("id", backup.id.as_str())
        .time("created", backup.created_at_micros)
        .time("keys_expire", backup.keys_expire_at_micros)
}

/// What became of a deleted organization.
pub(crate) async fn destruction(
    connection: &Connection,
    output: &Output,
    organization_id: String,
) -> Result<(), Failure> {
    let message = request(GetDestructionRequest { organization_id });
    let found = connection.destruction().get_destruction(message).await?.into_inner();
    let rows: u64 = found.destroyed.iter().map(|table| table.rows).sum();
    let tables = found.destroyed.iter().map(|table| format!("{} {}", table.rows, table.table));
    output.one(
        &Record::default()
            .text("organization", found.organization_id.as_str())
            .time("deleted", found.deleted_at_micros)
            .time("usage_closed", found.usage_closed_at_micros)
            .time("finished", found.finished_at_micros)
            .count("rows", rows)
            .text("destroyed", tables.collect::<Vec<_>>().join(", "))
            .time("keys_in_backups_until", found.keys_in_backups_until_micros),
    );
    Ok(())
}
