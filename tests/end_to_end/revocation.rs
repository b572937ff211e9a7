//! R12, and changes that nobody should notice.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use bailiwick_domain::spiffe::ProcessRole;
use bailiwick_proto::admin::v1::{
    ListAuditRecordsRequest, ReplaceCredentialRequest, RevokeKeyRequest, VerifyAuditChainRequest,
};
use bailiwick_runtime::identity::Connector;
use bailiwick_tests::{
    admin::{Admin, operator},
    calls::{Application, refusal},
    eventually,
    installation::{Installation, Region},
    process::{Owned, binary},
};
use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use serde_json::Value;

const REGION: &str = "eu-central-1";

/// What one worker answers to the key, asked directly as its region's operator.
async fn at_worker(region: &Region, index: usize, key: &str) -> u16 {
    let connector = Connector::new(operator(REGION, region), ProcessRole::Worker).expect("connector");
    let address = region.processes.workers[index].address.parse().expect("address");
    let stream = connector.connect(address).await.expect("worker");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("http");
    let connection = tokio::task::spawn(connection);
    let request = hyper::Request::get("/v1/models").header("authorization", format!("Bearer {key}"));
    let request = request.header("host", "worker").body(Empty::<Bytes>::new()).expect("request");
    let status = sender.send_request(request).await.expect("answer").status().as_u16();
    connection.abort();
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn r12_a_revoked_key_stops_on_every_worker_at_once() {
    let installation = Installation::start();
    let region = installation.region(REGION);
    let admin = Admin::of(REGION, region);
    let (id, key) = admin.new_key(&region.organization).await;
    for worker in 0..2 {
        eventually("the key works", || async {
            (at_worker(region, worker, &key).await == 200).then_some(())
        })
        .await;
    }
    let revoked =
        admin.keys().revoke_key(RevokeKeyRequest { id: id.clone() }).await.expect("revoked").into_inner();
    let since = Instant::now();
    for worker in 0..2 {
        eventually("the key is refused", || async {
            (at_worker(region, worker, &key).await == 401).then_some(())
        })
        .await;
    }
    println!("refused on both workers {} ms after the revocation was answered", since.elapsed().as_millis());
    admin.applied(revoked.change.expect("change").revision).await;
    let refused =
        Application::new(&region.base_url, &key).chat(&region.model, "x", false).await.expect("answer");
    assert_eq!(refusal(refused).await.code, "invalid_api_key");
    // R11: the change and its record are one.
    let organization_id = region.organization.clone();
    let records = ListAuditRecordsRequest { organization_id: organization_id.clone(), page: None };
    let records = admin.audit().list_audit_records(records).await.expect("records").into_inner().records;
    let last = records.last().expect("a record");
    assert_eq!((last.action.as_str(), last.subject.as_str()), ("key.revoke", id.as_str()));
    assert!(last.actor.contains("/operator/"), "{}", last.actor);
    let verified = admin
        .audit()
        .verify_audit_chain(VerifyAuditChainRequest { organization_id })
        .await
        .expect("verified");
    assert!(verified.into_inner().intact);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_credential_takes_effect_without_a_failed_call() {
    let installation = Installation::start();
    let region = installation.region(REGION);
    let admin = Admin::of(REGION, region);
    let (provider, url) = strict_provider(&installation).await;
    let credential = admin.new_credential(&region.organization, "old-key").await;
    let revision =
        admin.new_model(&region.organization, "strict", &format!("{url}/v1"), "simulated", &credential).await;
    admin.applied(revision).await;

    let stop = Arc::new(AtomicBool::new(false));
    let (good, bad) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (application, stop) = (Application::of(region), Arc::clone(&stop));
        let (good, bad) = (Arc::clone(&good), Arc::clone(&bad));
        callers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let answer = application.chat("strict", "hello", false).await;
                let served = answer.is_ok_and(|answer| answer.status() == 200);
                if served { &good } else { &bad }.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let served = |goal: u64| {
        let good = Arc::clone(&good);
        async move {
            eventually("callers are served", || async {
                (good.load(Ordering::Relaxed) >= goal).then_some(())
            })
            .await
        }
    };
    served(50).await;
    let request = ReplaceCredentialRequest { id: credential, secret: "new-key".to_owned() };
    let replaced = admin.credentials().replace_credential(request).await.expect("replaced").into_inner();
    admin.applied(replaced.change.expect("change").revision).await;
    served(good.load(Ordering::Relaxed) + 20).await;
    let old = by_key(&url, "0").await;
    served(good.load(Ordering::Relaxed) + 50).await;
    stop.store(true, Ordering::Relaxed);
    while callers.join_next().await.is_some() {}
    assert_eq!(bad.load(Ordering::Relaxed), 0, "calls failed while the credential changed");
    assert_eq!(by_key(&url, "0").await, old, "the old key is used no more");
    assert!(by_key(&url, "1").await >= 50);
    drop(provider);
}

/// A provider that accepts two keys and tells which was used.
async fn strict_provider(installation: &Installation) -> (Owned, String) {
    let address = format!("{}:{}", installation.outside, installation.spare_port);
    let program = binary("bailiwick-simulated-provider").display().to_string();
    let arguments = ["--listen", &address, "--api-key", "old-key", "--api-key", "new-key"].map(str::to_owned);
    let command: Vec<String> = std::iter::once(program).chain(arguments).collect();
    let provider = Owned::start(&command, &installation.folder().join("strict-provider.log"));
    let url = format!("http://{address}");
    eventually("the provider answers", || async { reqwest::get(format!("{url}/v1/models")).await.ok() })
        .await;
    (provider, url)
}

async fn by_key(url: &str, position: &str) -> u64 {
    let served: Value =
        reqwest::get(format!("{url}/simulated/served")).await.expect("served").json().await.expect("json");
    served["by_key"][position].as_u64().unwrap_or_default()
}
