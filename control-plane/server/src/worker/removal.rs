//! A removed worker's streams are closed, and say why.

use futures_util::{StreamExt as _, stream, stream::BoxStream};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::configuration::subscription;

/// The stream, until `removed` is cancelled; then it ends with `worker_removed`.
pub(crate) fn until_removed<T: Send + 'static>(
    answers: BoxStream<'static, Result<T, Status>>,
    removed: CancellationToken,
) -> BoxStream<'static, Result<T, Status>> {
    let next = |(mut answers, removed): (BoxStream<'static, Result<T, Status>>, CancellationToken)| async move {
        let answer = tokio::select! {
            biased;
            () = removed.cancelled() => {
                // Nothing comes after the reason.
                answers = stream::empty().boxed();
                return Some((Err(subscription::removed().into()), (answers, CancellationToken::new())));
            }
            answer = answers.next() => answer?,
        };
        Some((answer, (answers, removed)))
    };
    stream::unfold((answers, removed), next).boxed()
}
