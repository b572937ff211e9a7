//! `BackupService`.

use std::{collections::VecDeque, pin::Pin, time::Duration};

use bailiwick_core::{
    backup::{
        BackupError,
        format::Part,
        writing::{BackupWriter, Piece},
    },
    error::UseCaseError,
    records::BackupRecord,
};
use bailiwick_domain::permission::Permission;
use bailiwick_proto::admin::v1::{
    self as wire, backup_service_server::BackupService, create_backup_response::Message,
};
use futures_util::{Stream, stream};
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Request, Response, Status};

use super::{Admin, edge::next_page};

/// Messages are smaller than what clients take by default, with room to spare.
const MESSAGE_BYTES: usize = 512 << 10;
const DEFAULT_KEYS_LIFETIME_SECONDS: u32 = 7 * 24 * 3600;
/// What somebody is told who comes while another backup is made.
const BUSY: Duration = Duration::from_secs(30);

#[tonic::async_trait]
impl BackupService for Admin {
    type CreateBackupStream = Pin<Box<dyn Stream<Item = Result<wire::CreateBackupResponse, Status>> + Send>>;

    async fn create_backup(
        &self,
        request: Request<wire::CreateBackupRequest>,
    ) -> Result<Response<Self::CreateBackupStream>, Status> {
        let (edge, request) = self.edge(request)?;
        let seconds = Some(request.keys_lifetime_seconds).filter(|seconds| *seconds > 0);
        let lifetime = Duration::from_secs(seconds.unwrap_or(DEFAULT_KEYS_LIFETIME_SECONDS).into());
        self.answer(edge.caller.permit_region(Permission::RegionWrite))?;
        // A backup holds a state of the store for as long as it is read; one at a time holds one.
        let turn = self.backups.clone().try_acquire_owned();
        let turn = turn.map_err(|_| UseCaseError::Exhausted { reason: "backup_running", retry_after: BUSY });
        let begun = match turn {
            Ok(turn) => self.control_plane.backup_begin(&edge.caller, lifetime).await.map(|w| (w, turn)),
            Err(busy) => Err(busy),
        };
        let (writer, turn) = self.answer(begun)?.into_inner();
        let begun = Message::Begun(wire::Backup { revision: writer.revision(), ..backup(&writer.record) });
        let sending = Sending { admin: self.clone(), writer, waiting: VecDeque::from([begun]), _turn: turn };
        Ok(Response::new(Box::pin(stream::try_unfold(sending, Sending::next))))
    }

    async fn list_backups(
        &self,
        request: Request<wire::ListBackupsRequest>,
    ) -> Result<Response<wire::ListBackupsResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let page = edge.page(request.page);
        let page = edge.checked(page).await?;
        let found = self.control_plane.backup_list(&edge.caller, &page).await;
        self.answer(found.map(|found| wire::ListBackupsResponse {
            backups: found.rows.iter().map(backup).collect(),
            page: next_page(found.next),
        }))
    }
}

/// A backup on its way. What is read next is read when the caller has taken what was read before.
struct Sending {
    admin: Admin,
    writer: BackupWriter,
    waiting: VecDeque<Message>,
    _turn: OwnedSemaphorePermit,
}

impl Sending {
    async fn next(mut self) -> Result<Option<(wire::CreateBackupResponse, Self)>, Status> {
        while self.waiting.is_empty() {
            let read = self.writer.next().await.map_err(|error| match error {
                BackupError::Store(error) => UseCaseError::from(error),
                other => UseCaseError::Internal(Box::new(other)),
            });
            match self.admin.answer(read)?.into_inner() {
                Some(piece) => self.waiting.extend(messages(piece)),
                None => return Ok(None),
            }
        }
        let message = self.waiting.pop_front();
        Ok(Some((wire::CreateBackupResponse { message }, self)))
    }
}

fn messages(piece: Piece) -> Vec<Message> {
    let part = match piece.part {
        Part::Data => wire::BackupPart::Data,
        Part::Keys => wire::BackupPart::Keys,
    };
    let message = |bytes: &[u8]| {
        let (table, rows) = (piece.table.clone(), piece.rows);
        Message::Bytes(wire::BackupBytes { part: part.into(), bytes: bytes.to_vec(), table, rows })
    };
    piece.bytes.chunks(MESSAGE_BYTES).map(message).collect()
}

fn backup(record: &BackupRecord) -> wire::Backup {
    wire::Backup {
        id: record.id.to_string(),
        created_at_micros: record.created_at.as_micros(),
        keys_expire_at_micros: record.keys_expire_at.as_micros(),
        revision: 0,
    }
}
