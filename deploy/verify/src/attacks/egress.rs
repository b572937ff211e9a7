//! 14: deployments whose endpoint lies where a region's workers must never call. What a name resolves to is judged by the worker, when it dials; here, the
//! control plane has to refuse what can be told from the endpoint itself.

use async_trait::async_trait;
use bailiwick_proto::{
    admin::v1::{CreateDeploymentRequest, model_service_client::ModelServiceClient},
    status::reason_of,
};
use tonic::Code;

use super::{identifiers::nobody, layer};
use crate::{
    armed::{once, request, say},
    attack::{Attack, Pair},
    attempt::{Attempt, Probe},
};

/// Endpoints that no policy of a region admits by accident, in every spelling that a URL allows.
const ENDPOINTS: [(&str, &str); 10] = [
    ("a cloud's metadata address", "http://169.254.169.254/latest"),
    ("the same as one number", "http://2852039166/latest"),
    ("the same in octal", "http://0251.0376.0251.0376/latest"),
    ("the same in hexadecimal", "http://0xa9fea9fe/latest"),
    ("the same mapped into IPv6", "http://[::ffff:169.254.169.254]/latest"),
    ("the metadata address of IPv6", "http://[fd00:ec2::254]/latest"),
    ("an address of carrier-grade NAT", "http://100.100.100.200/latest"),
    ("the unspecified address", "http://0.0.0.0:7103/v1"),
    ("a host below a provider's name", "https://api.openai.com.verify-isolation.invalid/v1"),
    ("a provider's name as a user", "https://api.openai.com@verify-isolation.invalid/v1"),
];

pub(super) struct Egress;

#[async_trait]
impl Attack for Egress {
    fn number(&self) -> u8 {
        14
    }

    fn name(&self) -> &'static str {
        "an endpoint outside the region's egress policy"
    }

    async fn run(&self, pair: Pair<'_>) -> Vec<Attempt> {
        let mut attempts = Vec::with_capacity(ENDPOINTS.len());
        for (what, endpoint) in ENDPOINTS {
            attempts.push(deploy(pair, what, endpoint).await);
        }
        attempts
    }
}

async fn deploy(pair: Pair<'_>, what: &str, endpoint: &str) -> Attempt {
    let expected = "FailedPrecondition egress_refused, or InvalidArgument for what is no endpoint";
    let probe = Probe::new(format!("a deployment at {what}"), layer::EGRESS, expected);
    let target = pair.target;
    let message = CreateDeploymentRequest {
        idempotency_key: once(),
        organization_id: target.account.organization.clone(),
        provider: "openai_compatible".to_owned(),
        endpoint: endpoint.to_owned(),
        upstream_model: "verify-isolation".to_owned(),
        credential_id: target.account.credential.clone(),
        ..Default::default()
    };
    match ModelServiceClient::new(target.admin.clone()).create_deployment(request(message)).await {
        Ok(_) => probe.expect(false, "the deployment was made"),
        Err(status) if nobody(&status) => probe.unanswered(say(&status)),
        Err(status) => {
            let refused = reason_of(&status).as_deref() == Some("egress_refused")
                || status.code() == Code::InvalidArgument;
            probe.expect(refused, say(&status))
        }
    }
}
