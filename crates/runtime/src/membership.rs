//! What keeps a worker or a router a member of its region: its certificate is renewed, and whom the region trusts is followed. And what says so
//! when it is none any more: readiness, a metric, and an end to its serving.

use std::{sync::Arc, time::Duration};

use bailiwick_domain::time::{Clock, Timestamp};
use prometheus_client::metrics::gauge::Gauge;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::{
    enrollment,
    identity::Identity,
    lifecycle::Tasks,
    ops::{Condition, Ops},
    serving::{Serving, ServingError},
    trust,
};

/// A certificate's age is looked at this often.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A member that has its certificate.
pub struct Member {
    /// What it presents.
    pub identity: Identity,
    /// To its control plane. Two calls at a time go over it, and they are small.
    pub channel: Channel,
    /// To its control plane's enrollment listener, see [`enrollment::recovery`].
    pub recovery: Option<Channel>,
    /// Name of its region.
    pub region: String,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Met while its certificate is good.
    pub condition: Condition,
}

impl Member {
    /// Starts what keeps it one.
    pub fn maintain(self, tasks: &mut Tasks, ops: &Ops) {
        let Self { identity, channel, recovery, region, clock, condition } = self;
        let stop = tasks.stopping();
        let sources = enrollment::Sources { renewal: channel.clone(), recovery };
        let renewal = enrollment::keep_fresh(identity.clone(), sources, Arc::clone(&clock), stop.clone());
        tasks.spawn("renewal", renewal);
        let following = trust::follow(identity.clone(), channel, region, Arc::clone(&clock), stop.clone());
        tasks.spawn("trust", following);
        let (files, stopped) = (identity.clone(), stop.clone());
        tasks.spawn("identity files", async move { files.watch_files(stopped.cancelled_owned()).await });
        let expires = Gauge::<i64>::default();
        ops.register(|registry| {
            let help = "When this process's certificate expires, in seconds since the Unix epoch";
            registry.register("certificate_expires_timestamp_seconds", help, expires.clone());
        });
        tasks.spawn("standing", say_standing(identity, clock, condition, expires, stop));
    }
}

/// How a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Good,
    /// Its last third, which a process sees only when its renewals fail.
    Ending,
    Expired,
    Revoked,
}

impl Standing {
    fn of(identity: &Identity, now: Timestamp) -> Self {
        if identity.is_disowned() {
            Self::Revoked
        } else if identity.expires() <= now {
            Self::Expired
        } else if is_ending(identity.issued(), identity.expires(), now) {
            Self::Ending
        } else {
            Self::Good
        }
    }
}

fn is_ending(issued: Timestamp, expires: Timestamp, now: Timestamp) -> bool {
    expires.saturating_since(now) < expires.saturating_since(issued) / 3
}

async fn say_standing(
    identity: Identity,
    clock: Arc<dyn Clock>,
    condition: Condition,
    expires: Gauge,
    stop: CancellationToken,
) {
    let mut said = None;
    loop {
        expires.set(identity.expires().as_micros() / 1_000_000);
        let standing = Standing::of(&identity, clock.now());
        if said != Some(standing) {
            match standing {
                Standing::Good => condition.ready(),
                Standing::Ending => {
                    let left_seconds = identity.expires().saturating_since(clock.now()).as_secs();
                    tracing::warn!(left_seconds, "the certificate ends soon, and no renewal has succeeded");
                    condition.ready_for_now("the certificate ends soon and is not renewed: the control plane is needed before it does");
                }
                Standing::Expired => {
                    tracing::error!(spiffe_id = %identity.spiffe_id(), "the certificate has expired: the control plane was away for longer than its life");
                    condition.not_ready("the certificate has expired: nobody of the region admits this process until it has a new one");
                }
                Standing::Revoked => condition.not_ready(
                    "the region has revoked this process's certificate: stop it, or start it with a new join token",
                ),
            }
            said = Some(standing);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = identity.disowned(), if standing != Standing::Revoked => {}
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}

/// Serves until it is stopped, or has drained. When the identity is revoked, every connection is closed and nobody is let in any more; the process
/// lives on, to say why.
///
/// # Errors
/// As [`Serving::run`].
pub async fn serve_while_a_member(
    serving: Serving,
    identity: Identity,
    stop: CancellationToken,
) -> Result<(), ServingError> {
    let ended = async {
        tokio::select! {
            () = stop.cancelled() => {}
            () = identity.disowned() => tracing::error!("revoked: this process serves nobody any more"),
        }
    };
    serving.run(ended).await?;
    stop.cancelled().await;
    Ok(())
}

#[cfg(test)]
mod tests;
