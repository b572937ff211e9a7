//! One region's keys, certificates and usage are nothing to another.

use std::time::Duration;

use bailiwick_domain::spiffe::ProcessRole;
use bailiwick_proto::admin::v1::GetRegionRequest;
use bailiwick_runtime::identity::{Connector, Identity};
use bailiwick_tests::{
    admin::{Admin, operator},
    calls::{Application, refusal},
    eventually,
    installation::{Installation, REGIONS},
};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Sends a head that promises 100 MB, and nothing of the body. Gives all that comes back.
async fn head_only(mut stream: impl AsyncRead + AsyncWrite + Unpin, key: &str) -> String {
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: 100000000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("the head is taken");
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    // The answer ends where its body does; the connection may stay open a moment longer.
    while !String::from_utf8_lossy(&answer).contains("\"request_id\"") {
        let read = timeout(Duration::from_secs(10), stream.read(&mut buffer))
            .await
            .expect("an answer to the head alone");
        let read = read.expect("an answer, not a reset");
        assert_ne!(read, 0, "closed without an answer");
        answer.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn assert_sent_home(answer: &str, home: &str, base_url: &str) {
    assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
    let endpoint = base_url.trim_end_matches("/v1");
    assert!(answer.contains(&format!("x-bailiwick-home-endpoint: {endpoint}")), "{answer}");
    assert!(answer.contains("\"wrong_region\"") && answer.contains(home), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_a_foreign_key_is_sent_home_by_router_and_worker_with_the_body_unread() {
    let installation = Installation::start();
    for here in REGIONS {
        for home in REGIONS.into_iter().filter(|home| *home != here) {
            let (local, foreign) = (installation.region(here), installation.region(home));
            let router = TcpStream::connect(&local.processes.router.address).await.expect("router");
            assert_sent_home(&head_only(router, &foreign.api_key).await, home, &foreign.base_url);
            // A worker answers only to certificates of its own region; even for those, a foreign key is sent home.
            let connector = Connector::new(operator(here, local), ProcessRole::Worker).expect("connector");
            let worker = local.processes.workers[0].address.parse().expect("address");
            let worker = connector.connect(worker).await.expect("an operator may call a worker");
            assert_sent_home(&head_only(worker, &foreign.api_key).await, home, &foreign.base_url);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r3_a_certificate_of_another_region_opens_nothing() {
    let installation = Installation::start();
    for here in REGIONS {
        for other in REGIONS.into_iter().filter(|other| *other != here) {
            let (local, foreign) = (installation.region(here), installation.region(other));
            // The foreign operator trusts only its own root, so it does not even accept this region's servers …
            let lost = Admin::with(operator(other, foreign), &local.admin_addr);
            assert!(lost.region().get_region(GetRegionRequest {}).await.is_err(), "{other} at {here}");
            // … and with this region's root in its trust store, it is this region's servers that refuse its certificate.
            let forged = forged(&installation, here, other);
            assert!(
                forged.is_err(),
                "a foreign certificate beside this region's root is refused before it is used"
            );
            let worker = local.processes.workers[0].address.parse().expect("address");
            let connector = Connector::new(operator(other, foreign), ProcessRole::Worker).expect("connector");
            assert!(connector.connect(worker).await.is_err(), "{other} at a worker of {here}");
        }
    }
}

/// An identity with one region's certificate and another's root.
fn forged(
    installation: &Installation,
    here: &str,
    other: &str,
) -> Result<Identity, bailiwick_runtime::identity::IdentityError> {
    let (local, foreign) = (installation.region(here), installation.region(other));
    let folder = installation.folder().join(format!("forged-{here}-{other}"));
    std::fs::create_dir_all(&folder).expect("folder");
    std::fs::copy(&local.ca, folder.join("ca.pem")).expect("copy");
    std::fs::copy(&foreign.operator_cert, folder.join("cert.pem")).expect("copy");
    std::fs::copy(&foreign.operator_key, folder.join("key.pem")).expect("copy");
    let domain = format!("{here}.{}", local.installation).parse().expect("domain");
    Identity::load_dir(&folder, domain)
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_a_foreign_identifier_is_refused_by_the_admin_api_and_recorded() {
    let installation = Installation::start();
    let (local, foreign) = (installation.region("eu-central-1"), installation.region("us-west-1"));
    let admin = Admin::of("eu-central-1", local);
    let request = bailiwick_proto::admin::v1::GetOrganizationRequest { id: foreign.organization.clone() };
    let status = admin.organizations().get_organization(request).await.expect_err("refused");
    assert_eq!(bailiwick_proto::status::reason_of(&status).as_deref(), Some("wrong_region"));
    assert_eq!(bailiwick_proto::status::metadata_of(&status, "region").as_deref(), Some("us-west-1"));
    let records = admin
        .audit()
        .list_audit_records(bailiwick_proto::admin::v1::ListAuditRecordsRequest::default())
        .await;
    let records = records.expect("records").into_inner().records;
    assert!(
        records
            .iter()
            .any(|record| record.action == "foreign.refuse" && record.subject == foreign.organization)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn r5_usage_arrives_at_its_own_region_and_nowhere_else() {
    let installation = Installation::start();
    let mut before = Vec::new();
    for name in REGIONS {
        let region = installation.region(name);
        before.push(Admin::of(name, region).total(&region.organization).await.calls);
    }
    let here = installation.region("eu-central-1");
    let answer = Application::of(here).chat(&here.model, "one two three", false).await.expect("answer");
    assert_eq!(answer.status(), 200);
    let admin = Admin::of("eu-central-1", here);
    let total = eventually("the call is metered", || async {
        let total = admin.total(&here.organization).await;
        (total.calls == before[2] + 1).then_some(total)
    })
    .await;
    assert!(total.cost_nanos_usd > 0 && total.unpriced_calls == 0);
    for (name, calls) in REGIONS.iter().zip(&before).take(2) {
        let region = installation.region(name);
        assert_eq!(Admin::of(name, region).total(&region.organization).await.calls, *calls, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_a_signup_for_another_region_is_turned_away() {
    let installation = Installation::start();
    let here = installation.region("eu-central-1");
    let application = Application::of(here);
    let body = json!({"region": "us-west-1", "organization_name": "x", "email": "x@example.com"});
    let refused = refusal(application.post("/signup", &body).await.expect("answer")).await;
    assert_eq!((refused.status.as_u16(), refused.code.as_str()), (421, "wrong_region"));
    // In the head, the region is judged before a byte of the body is read: this body is no signup at all.
    let refused =
        refusal(application.post("/signup?region=us-west-1", &json!("no")).await.expect("answer")).await;
    assert_eq!(refused.code, "wrong_region");
    let told =
        reqwest::get(&here.processes.router.metrics).await.expect("metrics").text().await.expect("text");
    assert!(told.contains("\nbailiwick_router_refusals_total{code=\"wrong_region\"} 2\n"), "{told}");
    let body = json!({"region": "mars-1", "organization_name": "x", "email": "x@example.com"});
    assert_eq!(refusal(application.post("/signup", &body).await.expect("answer")).await.status, 400);
}
