//! 14: deployments whose endpoint lies where a region's workers must never call, and credentials whose tokens would be had there. What can be told from the endpoint itself, the control plane has to refuse
//! ([`refused_at_once`]); what a name resolves to, and where an answer redirects, the worker when it dials ([`calls`]).

mod calls;
mod trap;

pub(super) use trap::Trap;

use async_trait::async_trait;
use bailiwick_proto::{
    admin::v1::{
        CreateCredentialRequest, CreateDeploymentRequest, Deployment,
        credential_service_client::CredentialServiceClient, model_service_client::ModelServiceClient,
    },
    status::reason_of,
};
use serde_json::json;
use tonic::{Code, Status};

use super::{identifiers::nobody, layer};
use crate::{
    armed::{Armed, once, request, say},
    attack::{Attack, Pair},
    attempt::{Attempt, Probe},
};

/// Endpoints that no policy of a region admits by accident, in every spelling that a URL allows.
const ENDPOINTS: [(&str, &str); 12] = [
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
    ("a host of another jurisdiction", "https://abroad.verify.test/v1"),
    ("a host that may answer from anywhere", "https://anywhere.verify.test/v1"),
];

/// Issuers of tokens that no operator names by accident: hosts that calls may go to are none for that.
const ISSUERS: [(&str, &str); 3] = [
    ("a host that nobody named", "https://login.verify-isolation.invalid"),
    ("a host that is named for calls alone", "https://anywhere.verify.test"),
    ("a cloud's metadata address", "http://169.254.169.254"),
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
        let mut attempts = Vec::with_capacity(ENDPOINTS.len() + ISSUERS.len());
        for (what, endpoint) in ENDPOINTS {
            attempts.push(refused_at_once(pair, what, endpoint).await);
        }
        for (what, authority) in ISSUERS {
            attempts.push(no_issuer(pair, what, authority).await);
        }
        attempts.extend(calls::run(pair).await);
        attempts
    }
}

async fn refused_at_once(pair: Pair<'_>, what: &str, endpoint: &str) -> Attempt {
    let expected = "FailedPrecondition egress_refused, or InvalidArgument for what is no endpoint";
    let probe = Probe::new(format!("a deployment at {what}"), layer::EGRESS, expected);
    match deploy(pair.target, endpoint, "verify-isolation").await {
        Ok(_) => probe.expect(false, "the deployment was made"),
        Err(status) if nobody(&status) => probe.unanswered(say(&status)),
        Err(status) => {
            let refused = is_egress_refused(&status) || status.code() == Code::InvalidArgument;
            probe.expect(refused, say(&status))
        }
    }
}

async fn no_issuer(pair: Pair<'_>, what: &str, authority: &str) -> Attempt {
    let probe = Probe::new(
        format!("a credential whose tokens would be had at {what}"),
        layer::EGRESS,
        "FailedPrecondition egress_refused",
    );
    let secret = json!({"tenant_id": "t", "client_id": "c", "client_secret": "s", "authority": authority});
    let message = CreateCredentialRequest {
        idempotency_key: once(),
        organization_id: pair.target.account.organization.clone(),
        name: "verify-isolation".to_owned(),
        secret: secret.to_string(),
    };
    let mut client = CredentialServiceClient::new(pair.target.admin.clone());
    match client.create_credential(request(message)).await {
        Ok(_) => probe.expect(false, "the credential was made"),
        Err(status) if nobody(&status) => probe.unanswered(say(&status)),
        Err(status) => probe.expect(is_egress_refused(&status), say(&status)),
    }
}

fn is_egress_refused(status: &Status) -> bool {
    reason_of(status).as_deref() == Some("egress_refused")
}

/// A deployment of this run's organization.
async fn deploy(region: &Armed, endpoint: &str, upstream_model: &str) -> Result<Deployment, Status> {
    let message = CreateDeploymentRequest {
        idempotency_key: once(),
        organization_id: region.account.organization.clone(),
        provider: "openai_compatible".to_owned(),
        endpoint: endpoint.to_owned(),
        upstream_model: upstream_model.to_owned(),
        credential_id: region.account.credential.clone(),
        ..Default::default()
    };
    let made = ModelServiceClient::new(region.admin.clone()).create_deployment(request(message)).await?;
    Ok(made.into_inner().deployment.unwrap_or_default())
}
