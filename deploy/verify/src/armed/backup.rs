//! A backup of a region, as its operator makes one. Sealed, in a folder that is gone with it.

use std::{fs, io::Write as _, path::Path};

use bailiwick_proto::admin::v1::{
    BackupPart, CreateBackupRequest, backup_service_client::BackupServiceClient,
    create_backup_response::Message,
};
use tempfile::TempDir;
use tonic::transport::Channel;

use super::{request, say};

/// The region's list of backups says until when a file of keys may exist; this one is gone long before.
const KEYS_SECONDS: u32 = 60;

/// The two files, named as `restore` wants them.
pub(crate) struct Backup(TempDir);

impl Backup {
    pub(super) async fn make(admin: &Channel) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("the backup cannot be written: {error}");
        let folder = tempfile::Builder::new().prefix("bailiwick-verify-").tempdir().map_err(failed)?;
        let file = |name: &str| fs::File::create(folder.path().join(name)).map_err(failed);
        let (mut data, mut keys) = (file("data.bailiwick")?, file("keys.bailiwick")?);
        let message = request(CreateBackupRequest { keys_lifetime_seconds: KEYS_SECONDS });
        let answer = BackupServiceClient::new(admin.clone()).create_backup(message).await;
        let mut pieces = answer.map_err(|status| say(&status))?.into_inner();
        while let Some(piece) = pieces.message().await.map_err(|status| say(&status))? {
            if let Some(Message::Bytes(piece)) = piece.message {
                let into = if piece.part() == BackupPart::Keys { &mut keys } else { &mut data };
                into.write_all(&piece.bytes).map_err(failed)?;
            }
        }
        Ok(Self(folder))
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }
}
