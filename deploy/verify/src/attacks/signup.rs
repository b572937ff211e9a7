//! 9: signing up for one region at another.

use async_trait::async_trait;
use bailiwick_proto::{
    status::{metadata_of, reason_of},
    worker::v1::{SignUpRequest, signup_service_client::SignupServiceClient},
};
use serde_json::json;
use tonic::Code;

use super::{
    identifiers::nobody,
    keys::{sent_home, try_router},
    layer,
};
use crate::{
    armed::{once, organization, request, say},
    attack::{Attack, Pair},
    attempt::{Attempt, Probe, Verdict},
    web::{Ask, Sends},
};

const PATH: &str = "/v1/signup";

pub(super) struct Signup;

#[async_trait]
impl Attack for Signup {
    fn number(&self) -> u8 {
        9
    }

    fn name(&self) -> &'static str {
        "a signup for another region"
    }

    async fn run(&self, pair: Pair<'_>) -> Vec<Attempt> {
        let other = pair.attacker.name();
        let body = json!({
            "region": other,
            "organization_name": organization(&pair.target.run),
            "email": "verify-isolation@example.com",
        });
        let held_back = |target: &str| Ask::post(target, Sends::HeldBack);
        let asks = [
            ("in the query", held_back(&format!("{PATH}?region={other}"))),
            ("in a header", held_back(PATH).with("x-bailiwick-region", other)),
            ("in the body", Ask::post(PATH, Sends::Json(body.clone()))),
            (
                "in the body, where the head names this one",
                Ask::post(PATH, Sends::Json(body)).with("x-bailiwick-region", pair.target.name()),
            ),
        ];
        let mut attempts = Vec::new();
        for (place, ask) in asks {
            let what = format!("the other region {place}, at the router");
            let expected = "421 wrong_region by the router itself";
            let probe = Probe::new(what, layer::ROUTER_SIGNUP, expected);
            attempts.push(closed(try_router(probe, pair, &ask, |answer| sent_home(answer, pair)).await));
        }
        attempts.push(at_control_plane(pair).await);
        attempts
    }
}

/// A router that signs nobody up refuses for another reason, which proves nothing of regions.
fn closed(attempt: Attempt) -> Attempt {
    if attempt.observed.starts_with("HTTP 404 not_found") {
        let observed = "the router signs nobody up: 404 not_found".to_owned();
        return Attempt { verdict: Verdict::NotAttempted, observed, ..attempt };
    }
    attempt
}

/// Behind the router: what if it passed the signup on?
async fn at_control_plane(pair: Pair<'_>) -> Attempt {
    let what = "the other region, at the control plane by one of its routers";
    let probe = Probe::new(what, layer::PROCESS_EDGE, "FailedPrecondition wrong_region");
    let channel = match (&pair.target.access.processes, &pair.target.router) {
        (Some(address), Ok(router)) => router.channel(address),
        (None, _) => Err("the context names no worker API".to_owned()),
        (_, Err(why)) => Err(why.clone()),
    };
    let channel = match channel {
        Ok(channel) => channel,
        Err(why) => return probe.not_attempted(why),
    };
    let message = SignUpRequest {
        region: pair.attacker.name().to_owned(),
        organization_name: organization(&pair.target.run),
        email: "verify-isolation@example.com".to_owned(),
        idempotency_key: once(),
    };
    match SignupServiceClient::new(channel).sign_up(request(message)).await {
        Ok(_) => probe.expect(false, "an organization was made"),
        Err(status) if nobody(&status) => probe.unanswered(say(&status)),
        Err(status) => {
            let refused = status.code() == Code::FailedPrecondition
                && reason_of(&status).as_deref() == Some("wrong_region")
                && metadata_of(&status, "region").as_deref() == Some(pair.attacker.name());
            probe.expect(refused, say(&status))
        }
    }
}
