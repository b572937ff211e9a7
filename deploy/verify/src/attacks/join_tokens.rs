//! 6: a join token of another region.

use async_trait::async_trait;
use bailiwick_domain::key::JoinToken;
use bailiwick_proto::{
    status::{metadata_of, reason_of},
    worker::v1::{EnrollRequest, enrollment_service_client::EnrollmentServiceClient},
};
use bailiwick_runtime::identity::new_key_and_csr;
use secrecy::ExposeSecret as _;
use tonic::{Code, Status};

use super::{identifiers::nobody, layer};
use crate::{
    armed::{pinned, request, say},
    attack::{Attack, Pair},
    attempt::{Attempt, Probe},
};

pub(super) struct JoinTokens;

#[async_trait]
impl Attack for JoinTokens {
    fn number(&self) -> u8 {
        6
    }

    fn name(&self) -> &'static str {
        "a foreign join token"
    }

    async fn run(&self, pair: Pair<'_>) -> Vec<Attempt> {
        let foreign = pair.attacker.join_token.expose_secret();
        let expected = "FailedPrecondition wrong_region";
        let probe = Probe::new("a token that is good in the other region", layer::ENROLLMENT, expected);
        let at_home = |status: &Status| {
            status.code() == Code::FailedPrecondition
                && reason_of(status).as_deref() == Some("wrong_region")
                && metadata_of(status, "region").as_deref() == Some(pair.attacker.name())
        };
        let mut attempts = vec![enroll(probe, pair, foreign, at_home).await];

        let expected = "Unauthenticated invalid_join_token";
        let unknown = |status: &Status| {
            status.code() == Code::Unauthenticated
                && reason_of(status).as_deref() == Some("invalid_join_token")
        };
        let made_up = JoinToken::generate(pair.target.code, pair.target.operator.root_fingerprint());
        let what = "a made-up token that claims to be of this region";
        let probe = Probe::new(what, layer::ENROLLMENT_TOKEN, expected);
        attempts.push(enroll(probe, pair, made_up.expose(), unknown).await);
        let what = "a token of this region's own identifier, with another secret";
        let probe = Probe::new(what, layer::ENROLLMENT_TOKEN, expected);
        attempts.push(match JoinToken::parse(pair.target.join_token.expose_secret()) {
            Ok(known) => {
                let forged = JoinToken::with_id(known.id(), known.ca_fingerprint());
                enroll(probe, pair, forged.expose(), unknown).await
            }
            Err(error) => probe.not_attempted(error.to_string()),
        });
        if let Ok(worker) = &pair.target.worker {
            let probe = Probe::new("a token that was used", layer::ENROLLMENT_TOKEN, expected);
            attempts.push(enroll(probe, pair, worker.used_token.expose_secret(), unknown).await);
        }
        attempts
    }
}

async fn enroll(
    probe: Probe,
    pair: Pair<'_>,
    token: &str,
    as_documented: impl Fn(&Status) -> bool,
) -> Attempt {
    let Some(enrollment) = &pair.target.access.enrollment else {
        return probe.not_attempted("the context names no enrollment address");
    };
    let csr = new_key_and_csr().map_err(|error| error.to_string());
    let (channel, (_key, csr)) = match pinned(pair.target, enrollment).and_then(|channel| Ok((channel, csr?)))
    {
        Ok(ready) => ready,
        Err(problem) => return probe.not_attempted(problem),
    };
    let message = EnrollRequest { join_token: token.to_owned(), csr_pem: csr.0 };
    match EnrollmentServiceClient::new(channel).enroll(request(message)).await {
        Ok(_) => probe.expect(false, "a certificate was issued"),
        Err(status) if nobody(&status) => probe.unanswered(say(&status)),
        Err(status) => probe.expect(as_documented(&status), say(&status)),
    }
}
