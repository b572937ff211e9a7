//! What is made of a provider's answer before anything of it is passed on: whether another shall be asked.

use std::time::{Duration, Instant};

use bailiwick_dialects::{Class, Failure};
use bailiwick_domain::usage::CallEnd;
use bailiwick_runtime::serving::ApiError;
use bytes::Bytes;
use http::StatusCode;

use super::{Answer, Heard, Last, MOST_ATTEMPTS, Sending, Tried, behind};
use crate::{
    answer::{Held, hold},
    dialects::BEDROCK_ERROR,
    error,
    metrics::{Routing, UpstreamFailure},
    placement::Ill,
    snapshot::{DeploymentEntry, ModelEntry},
    upstream::{
        leftover::discard,
        verdict::{self, Verdict},
    },
};

/// Bytes of a refusal that are read to tell which it is.
const LARGEST_REFUSAL: usize = 64 << 10;

impl<'s> Sending<'_, 's> {
    pub(super) async fn answered(&mut self, heard: Heard<'s>, waited: Duration, now: Instant) -> Tried {
        let clock = &*self.upstream.clock;
        let Heard { mut answer, model, deployment } = heard;
        let tried = match verdict::of(answer.response.status(), answer.response.headers(), clock) {
            Verdict::Failure(ill) => {
                self.note(answer.response.status());
                answer.lease.failed(ill, now);
                Tried::Failed(ill)
            }
            Verdict::MayBeRefusal if model.fallbacks.refusals() => {
                answer.lease.answered(waited, now);
                match Box::pin(self.read_refusal(&mut answer, model, deployment)).await {
                    Ok(tried) => tried,
                    Err((ill, end, error)) => {
                        answer.lease.failed(ill, Instant::now());
                        self.last = Some(Last::Failed(end, error));
                        return Tried::Over;
                    }
                }
            }
            Verdict::Answer | Verdict::MayBeRefusal => {
                answer.lease.answered(waited, now);
                Tried::Answered
            }
        };
        let heard = Last::Answer(Heard { answer, model, deployment });
        if let Some(Last::Answer(before)) = self.last.replace(heard) {
            let Answer { response, lease, .. } = *before.answer;
            discard(response, lease);
        }
        tried
    }

    fn note(&self, status: StatusCode) {
        if status == StatusCode::TOO_MANY_REQUESTS {
            self.upstream.metrics.upstream_failed(UpstreamFailure::RateLimited);
        } else if status.is_server_error() {
            self.upstream.metrics.upstream_failed(UpstreamFailure::ServerError);
        }
    }

    /// Which refusal it is, where the model has a fallback for it.
    async fn read_refusal(
        &mut self,
        answer: &mut Answer,
        model: &ModelEntry,
        deployment: &DeploymentEntry,
    ) -> Result<Tried, (Ill, CallEnd, ApiError)> {
        let idle = self.upstream.timeouts.idle;
        let read = self
            .timing
            .waiting(hold(&mut answer.response, Bytes::new(), LARGEST_REFUSAL, idle, self.hold))
            .await;
        match read {
            Held::Whole(bytes) => answer.begun = bytes,
            Held::Large(begun) => {
                answer.begun = begun;
                return Ok(Tried::Answered);
            }
            Held::Broken => return Err((Ill::Broken, CallEnd::ProviderFailed, error::provider_invalid())),
            Held::Late => return Err((Ill::Late, CallEnd::TimedOut, error::provider_timeout())),
        }
        let (status, headers) = (answer.response.status().as_u16(), answer.response.headers());
        let word = headers.text(&BEDROCK_ERROR);
        let why = match Failure::read(deployment.dialect, status, word, &answer.begun).class {
            Class::ContextLength => Routing::ContextWindow,
            Class::ContentPolicy => Routing::ContentPolicy,
            _ => return Ok(Tried::Answered),
        };
        let has_one = behind(&model.fallbacks, why).is_some();
        let may = has_one && self.attempts < MOST_ATTEMPTS && self.wish.body.can_be_sent();
        if may {
            self.wish.body.reclaim();
        }
        Ok(if may { Tried::Refused(why) } else { Tried::Answered })
    }
}
