//! What can be made of a bearer token.

use bailiwick_domain::{key::ApiKey, spiffe::TrustDomain};
use bailiwick_proto::{
    admin::v1 as wire,
    raw::{self, methods},
};
use bailiwick_runtime::identity::Identity;
use bailiwick_tests::{
    admin::{Admin, fresh},
    calls::Application,
    eventually,
    installation::Region,
};
use serde_json::{Value, json};
use tonic::Request;

use super::{REGION, echoing, exchange_with_worker, status_of, told};

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// `bw_euc1_`, the identifier and a separator.
const BEFORE_SECRET: usize = 25;
const CHECKSUM: usize = 6;

/// A key with a good checksum that begins with the first `kept` characters of another one, and goes on differently.
fn beginning_like(key: &str, kept: usize) -> String {
    let next =
        |digit: u8| DIGITS[(DIGITS.iter().position(|other| *other == digit).expect("a digit") + 1) % 62];
    let body = &key.as_bytes()[..key.len() - CHECKSUM];
    let changed = body.iter().enumerate().map(|(at, byte)| if at < kept { *byte } else { next(*byte) });
    let mut forged: Vec<u8> = changed.collect();
    let mut checksum = crc32fast::hash(&forged);
    let mut digits = [0; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[usize::try_from(checksum % 62).expect("small")];
        checksum /= 62;
    }
    forged.extend(digits);
    String::from_utf8(forged).expect("ASCII")
}

fn stranger() -> String {
    ApiKey::generate("euc1".parse().expect("good")).expose().to_owned()
}

async fn models(application: &Application, key: &str) -> String {
    let url = format!("{}/models", application.base_url);
    let asked = application.http.get(url).header("authorization", format!("Bearer {key}"));
    told(asked.send().await.expect("answer")).await
}

async fn worker_status(region: &Region, key: &str) -> u16 {
    let head = format!(
        "GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
    );
    status_of(&exchange_with_worker(region, head).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bearer_token_is_never_part_of_a_statement() {
    let (installation, admin) = echoing(&[]).await;
    let region = installation.region(REGION);
    let application = Application::of(region);
    let request = wire::ListKeysRequest { organization_id: region.organization.clone(), page: None };
    let before = admin.keys().list_keys(request.clone()).await.expect("keys").into_inner();
    // The answer to a key that was not copied whole is the answer to all of these.
    let refused = models(&application, &region.api_key[..60]).await;
    assert!(refused.starts_with("401"), "{refused}");
    let valid = &region.api_key;
    let tokens = [
        "' OR '1'='1",
        "' OR 1=1; --",
        "'; DROP TABLE api_keys; --",
        "' UNION SELECT * FROM organizations --",
        "\" OR \"\"=\"",
        "bw_euc1_' OR '1'='1_x",
        "bw_euc1_'; DELETE FROM api_keys; --_x",
        "1) OR (1=1",
        "%27%20OR%201=1",
        "\\' OR 1=1 --",
        "bw_euc1_0000000000000000_'||(SELECT secret FROM credentials LIMIT 1)||'0000000",
        "$1",
        "?1",
        ":id",
        "{\"$ne\":null}",
        "*",
        "%",
        "_",
    ];
    for token in tokens {
        assert_eq!(models(&application, token).await, refused, "{token}");
        assert_eq!(models(&application, &format!("{valid}{token}")).await, refused, "{token} behind a key");
        // Past the router, whose shape test a worker does not rely on.
        assert_eq!(worker_status(region, token).await, 401, "{token} at a worker");
    }
    assert_eq!(admin.keys().list_keys(request).await.expect("keys").into_inner(), before);
    assert!(models(&application, valid).await.starts_with("200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_begin_alike_are_not_taken_for_each_other() {
    let (installation, admin) = echoing(&[]).await;
    let region = installation.region(REGION);
    let application = Application::of(region);
    let (_, other) = admin.new_key(&region.organization).await;
    assert_eq!(
        beginning_like(&region.api_key, region.api_key.len()),
        region.api_key,
        "the forger knows the shape"
    );
    eventually("both keys work", || async {
        (models(&application, &other).await.starts_with("200")).then_some(())
    })
    .await;
    for kept in [BEFORE_SECRET, 26, 30, 36, 44, 52, region.api_key.len() - CHECKSUM - 1] {
        for key in [&region.api_key, &other] {
            // Whatever is remembered of the true one is remembered now.
            assert!(models(&application, key).await.starts_with("200"));
            assert_eq!(worker_status(region, key).await, 200);
            let forged = beginning_like(key, kept);
            assert!(forged.starts_with(&key[..kept]) && forged.len() == key.len());
            assert!(models(&application, &forged).await.starts_with("401"), "{kept} characters in common");
            assert_eq!(worker_status(region, &forged).await, 401, "{kept} characters in common, at a worker");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_do_not_tell_which_keys_exist() {
    let (installation, admin) = echoing(&[]).await;
    let region = installation.region(REGION);
    let application = Application::of(region);
    let (id, revoked) = admin.new_key(&region.organization).await;
    let deleted = admin.new_organization(REGION).await;
    let (_, orphaned) = admin.new_key(&deleted).await;
    let now =
        admin.region().get_region(wire::GetRegionRequest {}).await.expect("region").into_inner().now_micros;
    let request = wire::CreateKeyRequest {
        idempotency_key: fresh(),
        organization_id: region.organization.clone(),
        name: "short".to_owned(),
        expires_at_micros: now + 2_000_000,
        ..Default::default()
    };
    let expired = admin.keys().create_key(request).await.expect("a key").into_inner().api_key;
    let change =
        admin.keys().revoke_key(wire::RevokeKeyRequest { id }).await.expect("revoked").into_inner().change;
    admin.applied(change.expect("a change").revision).await;
    let gone = wire::DeleteOrganizationRequest { id: deleted };
    let change = admin.organizations().delete_organization(gone).await.expect("deleted").into_inner().change;
    admin.applied(change.expect("a change").revision).await;
    eventually("the short key has ended", || async {
        (models(&application, &expired).await.starts_with("401")).then_some(())
    })
    .await;
    let unknown = models(&application, &stranger()).await;
    assert!(unknown.starts_with("401") && unknown.contains("invalid_api_key"), "{unknown}");
    let wrong = beginning_like(&region.api_key, BEFORE_SECRET);
    let well_formed = [
        ("revoked", &revoked),
        ("expired", &expired),
        ("of a deleted organization", &orphaned),
        ("with a wrong secret", &wrong),
    ];
    for (what, key) in well_formed {
        assert_eq!(models(&application, key).await, unknown, "a key that is {what}");
        let asked = Application::new(&region.base_url, key).chat("echo", "x", false).await;
        let said = told(asked.expect("answer")).await;
        assert!(said.contains("invalid_api_key") && said.starts_with("401"), "{what}: {said}");
    }
    // What is no key at all never comes as far as where keys are known: all such texts get one answer too.
    let malformed = models(&application, &region.api_key[..60]).await;
    for text in [&revoked[..60], &stranger()[..60], &region.api_key.replace("euc1", "xyz9"), "sk-something"] {
        assert_eq!(models(&application, text).await, malformed, "{text}");
    }
    let body = |answer: &str| answer.lines().last().unwrap_or_default().to_owned();
    assert_eq!(body(&malformed), body(&unknown));
    // What another tenant has does not exist for anybody else.
    let stranger = admin.new_organization(REGION).await;
    let (_, key) = admin.new_key(&stranger).await;
    eventually("its key is known", || async {
        (models(&application, &key).await.starts_with("200")).then_some(())
    })
    .await;
    let theirs = Application::new(&region.base_url, &key);
    let (taken, free) =
        (theirs.chat("echo", "x", false).await, theirs.chat("no-such-model", "x", false).await);
    assert_eq!(told(taken.expect("answer")).await, told(free.expect("answer")).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_up_does_not_tell_who_has_an_account() {
    let (installation, _admin) = echoing(&[]).await;
    let application = Application::of(installation.region(REGION));
    let sign_up = |name: &'static str| {
        let body = json!({"region": REGION, "organization_name": name, "email": "somebody@example.com"});
        let application = application.clone();
        async move {
            let answer = application.post("/signup", &body).await.expect("answer");
            let status = answer.status().as_u16();
            (status, answer.json::<Value>().await.expect("JSON"))
        }
    };
    let (first, again) = (sign_up("First").await, sign_up("First").await);
    assert_eq!((first.0, again.0), (201, 201), "{} {}", first.1, again.1);
    assert_ne!(
        first.1["organization_id"], again.1["organization_id"],
        "nobody is let into somebody else's organization"
    );
    assert_ne!(first.1["api_key"], again.1["api_key"]);
    let fields = |answer: &Value| answer.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&first.1), fields(&again.1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_key_administers_nothing() {
    let (installation, admin) = echoing(&[]).await;
    let region = installation.region(REGION);
    let request = wire::CreateKeyRequest {
        idempotency_key: fresh(),
        organization_id: region.organization.clone(),
        name: "narrow".to_owned(),
        allowed_models: vec!["none-of-those-that-are".to_owned()],
        ..Default::default()
    };
    let narrow = admin.keys().create_key(request).await.expect("a key").into_inner();
    let (narrow_id, narrow) = (narrow.key.expect("a key").id, narrow.api_key);
    let application = Application::new(&region.base_url, &narrow);
    eventually("the key is known", || async {
        (models(&application, &narrow).await.starts_with("200")).then_some(())
    })
    .await;

    // Where other gateways let keys, users and roles be changed, there is nothing here.
    let bodies = json!({"key": narrow, "id": narrow_id, "models": ["echo"], "allowed_models": ["echo"], "allowed_routes": ["/*"],
        "user_role": "proxy_admin", "role": "owner", "scopes": ["*"], "permissions": {"all": true}});
    for path in [
        "/key/generate",
        "/key/update",
        "/keys",
        "/user/update",
        "/user/new",
        "/team/update",
        "/organizations",
        "/admin/keys",
        "/models",
        "/config",
    ] {
        for base in [application.base_url.clone(), application.base_url.replace("/v1", "")] {
            let asked = application.http.post(format!("{base}{path}")).bearer_auth(&narrow).json(&bodies);
            let status = asked.send().await.expect("answer").status().as_u16();
            assert!(matches!(status, 404 | 405), "{status} at {base}{path}");
        }
    }
    // What a caller says of itself beside its call widens nothing.
    let asked = application
        .http
        .post(format!("{}/chat/completions?role=owner", application.base_url))
        .bearer_auth(&narrow);
    let mut body = bodies.clone();
    (body["model"], body["messages"]) = (json!("echo"), json!([]));
    let asked = asked.header("x-role", "owner").header("x-allowed-models", "*").json(&body);
    assert!(told(asked.send().await.expect("answer")).await.contains("model_not_allowed"));

    // The admin API knows certificates: a key beside one adds nothing to it.
    let domain = TrustDomain::new(REGION.parse().expect("name"), &region.installation).expect("domain");
    let folder = region.state_dir.join(&region.processes.workers[0].name).join("identity");
    let identity = Identity::load_dir(&folder, domain).expect("a worker's certificate");
    let worker = Admin::with(identity, &region.admin_addr);
    for method in methods(|service| service.starts_with("bailiwick.admin.v1.")).expect("descriptors") {
        let texts = method.fields.iter().map(|field| (field, region.organization.clone()));
        let mut request = Request::new(raw::message(texts));
        let key = format!("Bearer {}", region.api_key).parse().expect("a value");
        request.metadata_mut().insert("authorization", key);
        raw::call_with(worker.channel(), &method.path, request).await.expect_err(&method.path);
    }
    let listed = wire::ListKeysRequest { organization_id: region.organization.clone(), page: None };
    let keys = admin.keys().list_keys(listed).await.expect("keys").into_inner().keys;
    let kept = keys.into_iter().find(|key| key.id == narrow_id).expect("it is there");
    assert_eq!(kept.allowed_models, ["none-of-those-that-are"]);
}
