//! `QuotaService`: one stream for each worker, between it and the desk that lends limits.

use std::sync::Arc;

use bailiwick_core::{control_plane::ControlPlane, enrollment::Enrollment};
use bailiwick_domain::spiffe::SpiffeId;
use bailiwick_proto::{
    convert::{ConvertError, quota::from_holder_from_wire},
    status::Refusal,
    worker::v1::{ExchangeRequest, ExchangeResponse, quota_service_server::QuotaService},
};
use futures_util::{StreamExt as _, stream::BoxStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, Streaming};

use super::{attendance::Standing, membership};
use crate::quota::{ANSWERS, Quota, StreamId};

/// Ten thousand reports of at most 400 bytes each.
pub(crate) const MAX_MESSAGE_BYTES: usize = 8 << 20;

/// The service.
pub(crate) struct QuotaGrpc {
    pub(crate) control_plane: Arc<ControlPlane>,
    pub(crate) enrollment: Arc<Enrollment>,
    pub(crate) quota: Quota,
    /// Owns the streams' tasks.
    pub(crate) tasks: TaskTracker,
    pub(crate) drain: CancellationToken,
}

#[tonic::async_trait]
impl QuotaService for QuotaGrpc {
    type ExchangeStream = BoxStream<'static, Result<ExchangeResponse, Status>>;

    async fn exchange(
        &self,
        request: Request<Streaming<ExchangeRequest>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let spiffe = membership::peer(&request)?.spiffe.clone();
        let member = self.enrollment.member(&spiffe).await;
        member.map_err(|error| membership::refusal(error, &self.control_plane.parts.regions))?;
        let (answers, outgoing) = mpsc::channel(ANSWERS);
        // Whose names it may speak in is decided by its certificate, whatever it says.
        let stream = self.quota.open(spiffe.name(), answers.clone()).await?;
        let listener = Listener {
            control_plane: Arc::clone(&self.control_plane),
            spiffe: spiffe.clone(),
            quota: self.quota.clone(),
            stream,
            answers: answers.downgrade(),
        };
        drop(answers);
        self.tasks.spawn(listener.run(request.into_inner(), self.drain.clone()));
        let standing = Standing { enrollment: Arc::clone(&self.enrollment), spiffe };
        Ok(Response::new(standing.guard(ReceiverStream::new(outgoing).boxed())))
    }
}

/// Reads one stream.
struct Listener {
    control_plane: Arc<ControlPlane>,
    spiffe: SpiffeId,
    quota: Quota,
    stream: StreamId,
    /// Weak: the stream ends when the desk lets go of it.
    answers: mpsc::WeakSender<Result<ExchangeResponse, Status>>,
}

impl Listener {
    /// Until the stream ends, breaks the contract, or the control plane stops.
    async fn run(self, mut incoming: Streaming<ExchangeRequest>, drain: CancellationToken) {
        loop {
            let message = tokio::select! {
                () = drain.cancelled() => break,
                message = incoming.message() => message,
            };
            let Ok(Some(message)) = message else { break };
            // Ended from our side: the worker has another stream, or does not read.
            let Some(answers) = self.answers.upgrade() else { break };
            if let Err(refusal) = self.take(&message).await {
                let _ = answers.try_send(Err(refusal.into()));
                break;
            }
        }
        self.quota.close(self.stream).await;
    }

    async fn take(&self, message: &ExchangeRequest) -> Result<(), Refusal> {
        let parts = &self.control_plane.parts;
        match from_holder_from_wire(&parts.jurisdiction, message) {
            Ok(message) => self.quota.say(self.stream, message).await,
            Err(ConvertError::Field { field, problem }) => Err(Refusal::invalid(field, problem)),
            Err(ConvertError::Foreign(foreign)) => {
                let reporter = self.spiffe.to_string();
                self.control_plane.note_foreign(&reporter, "an account of a limit").await;
                Err(Refusal::wrong_region(&foreign, &parts.regions))
            }
        }
    }
}
