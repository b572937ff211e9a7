//! A client of Entra, and an Azure that takes the newest token alone.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use bailiwick_proto::{
    admin::v1::{CreateCredentialRequest, CreateDeploymentRequest, ReplaceCredentialRequest},
    status::reason_of,
};
use bailiwick_tests::{
    admin::fresh,
    calls::refusal,
    eventually,
    installation::Installation,
    provider::{Heard, Provider},
};
use serde_json::json;
use tokio::task::JoinSet;

use super::{Answer, MODEL, REGION, Tenant, chat, header, provider};

const CALLERS: u64 = 8;

/// What both of them know.
#[derive(Default)]
struct Directory {
    /// The token that is good.
    current: AtomicU64,
    is_down: AtomicBool,
    issued: AtomicU64,
    /// Calls that were taken with the present token.
    taken: AtomicU64,
    /// Calls that were not.
    refused: AtomicU64,
}

impl Directory {
    fn answer(&self, heard: &Heard) -> Answer {
        match &*heard.path {
            "/acme.test/oauth2/v2.0/token" => self.issue(heard),
            "/openai/deployments/gpt/chat/completions?api-version=2024-10-21" => self.take(heard),
            other => (404, format!("{{\"error\":{{\"message\":\"{other}\"}}}}")),
        }
    }

    fn issue(&self, heard: &Heard) -> Answer {
        if self.is_down.load(Ordering::SeqCst) {
            return (503, "down".to_owned());
        }
        let body = String::from_utf8_lossy(&heard.body);
        if !body.contains("client_id=c1&client_secret=right&") {
            return (401, r#"{"error":"invalid_client","error_description":"AADSTS7000215"}"#.to_owned());
        }
        self.issued.fetch_add(1, Ordering::SeqCst);
        let token = format!("token-{}", self.current.load(Ordering::SeqCst));
        (200, json!({"token_type": "Bearer", "expires_in": 3599, "access_token": token}).to_string())
    }

    fn take(&self, heard: &Heard) -> Answer {
        let wanted = format!("bearer token-{}", self.current.load(Ordering::SeqCst));
        if header(heard, "authorization") == wanted && header(heard, "api-key").is_empty() {
            self.taken.fetch_add(1, Ordering::SeqCst);
            return (200, chat());
        }
        self.refused.fetch_add(1, Ordering::SeqCst);
        (401, r#"{"error":{"code":"401","message":"Access denied due to invalid token"}}"#.to_owned())
    }
}

fn client(provider: &Provider, secret: &str) -> String {
    json!({"tenant_id": "acme.test", "client_id": "c1", "client_secret": secret, "authority": provider.url})
        .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_tokens_change_and_a_credential_that_is_replaced_is_used_no_more() {
    let installation = Installation::start();
    let directory = Arc::new(Directory::default());
    let shared = Arc::clone(&directory);
    let azure = provider(&installation, move |heard| shared.answer(heard)).await;
    let tenant = Arc::new(Tenant::new(installation.region(REGION)).await);
    let credential = tenant.credential(&client(&azure, "right")).await;
    let deployment = CreateDeploymentRequest {
        provider: "azure_openai".to_owned(),
        endpoint: format!("{}/openai", azure.url),
        upstream_model: "gpt".to_owned(),
        credential_id: credential.clone(),
        ..Default::default()
    };
    tenant.model(MODEL, deployment).await;

    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (tenant, stop, answered) = (Arc::clone(&tenant), Arc::clone(&stop), Arc::clone(&answered));
        callers.spawn(async move {
            let mut failed = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                let answer = tenant.call(MODEL).await;
                if answer.status() != 200 {
                    failed.push(answer.text().await.unwrap_or_default());
                }
                answered.fetch_add(1, Ordering::SeqCst);
            }
            failed
        });
    }
    let some_more = async |what: &str| {
        let until = answered.load(Ordering::SeqCst) + 20 * CALLERS;
        eventually(what, || async { (answered.load(Ordering::SeqCst) >= until).then_some(()) }).await;
    };
    some_more("calls flow").await;
    let before = directory.issued.load(Ordering::SeqCst);
    // From one moment to the next the old token is good for nothing.
    directory.taken.store(0, Ordering::SeqCst);
    directory.current.fetch_add(1, Ordering::SeqCst);
    some_more("calls flow on with the next token").await;
    assert!(directory.refused.load(Ordering::SeqCst) > 0, "somebody had met the change");
    assert!(directory.issued.load(Ordering::SeqCst) > before);
    assert!(directory.taken.load(Ordering::SeqCst) > 0);
    // A token that is good is enough, whatever becomes of those who issue them.
    directory.is_down.store(true, Ordering::SeqCst);
    some_more("calls flow on without an issuer").await;
    directory.is_down.store(false, Ordering::SeqCst);
    stop.store(true, Ordering::SeqCst);
    let failed: Vec<String> = callers.join_all().await.into_iter().flatten().collect();
    assert!(failed.is_empty(), "{} of {answered:?}: {:?}", failed.len(), failed.first());

    let replace = ReplaceCredentialRequest { id: credential, secret: client(&azure, "wrong") };
    let replaced =
        tenant.admin.credentials().replace_credential(replace).await.expect("replaced").into_inner();
    tenant.admin.applied(replaced.change.expect("told").revision).await;
    let heard = || directory.taken.load(Ordering::SeqCst) + directory.refused.load(Ordering::SeqCst);
    let before = heard();
    for _ in 0..5 {
        let refused = refusal(tenant.call(MODEL).await).await;
        assert_eq!((refused.status.as_u16(), refused.code.as_str()), (502, "provider_credential_refused"));
        assert!(!refused.message.contains("AADSTS"), "{}", refused.message);
    }
    assert_eq!(heard(), before, "the tokens of the old one are gone with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn r7_a_credential_whose_tokens_would_be_had_elsewhere_is_not_taken() {
    let installation = Installation::start();
    let tenant = Tenant::new(installation.region(REGION)).await;
    let public = json!({"tenant_id": "acme.test", "client_id": "c1", "client_secret": "s"}).to_string();
    let create = CreateCredentialRequest {
        idempotency_key: fresh(),
        organization_id: tenant.organization.clone(),
        name: "elsewhere".to_owned(),
        secret: public.clone(),
    };
    let refused = tenant.admin.credentials().create_credential(create).await.expect_err("nobody named it");
    assert_eq!(reason_of(&refused).as_deref(), Some("egress_refused"));
    assert!(refused.message().contains("login.microsoftonline.com"), "{}", refused.message());
    let id = tenant.credential("sk").await;
    let replace = ReplaceCredentialRequest { id, secret: public };
    let refused = tenant.admin.credentials().replace_credential(replace).await.expect_err("nor in its place");
    assert_eq!(reason_of(&refused).as_deref(), Some("egress_refused"));
}
