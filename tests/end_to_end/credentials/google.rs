//! A Google service account: an issuer that checks the assertion, and a Vertex that takes its token.

use std::sync::Arc;

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey},
};
use bailiwick_proto::admin::v1::CreateDeploymentRequest;
use bailiwick_tests::{installation::Installation, provider::Heard};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

use super::{Answer, MODEL, REGION, Tenant, header, provider};

const FORM: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";

/// Who asks, when its signature and its words are good.
fn issuer_of(assertion: &str, public: &[u8]) -> Option<Value> {
    let (signed, signature) = assertion.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let json = |text: &str| serde_json::from_slice::<Value>(&decoded(text)?).ok();
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public);
    key.verify(signed.as_bytes(), &decoded(signature)?).ok()?;
    let claims = json(claims)?;
    let lives = claims["exp"].as_u64()?.checked_sub(claims["iat"].as_u64()?)?;
    let good = json(header)? == json!({"alg": "RS256", "typ": "JWT", "kid": "k1"})
        && claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
        && lives <= 3600;
    good.then_some(claims)
}

fn answer(heard: &Heard, public: &[u8]) -> Answer {
    if heard.path == "/token" {
        let body = String::from_utf8_lossy(&heard.body);
        let claims = body.strip_prefix(FORM).and_then(|assertion| issuer_of(assertion, public));
        return match claims {
            Some(claims) if claims["iss"] == "svc@p.test" => (
                200,
                json!({"access_token": "ya29.good", "expires_in": 3599, "token_type": "Bearer"}).to_string(),
            ),
            _ => (400, r#"{"error":"invalid_grant"}"#.to_owned()),
        };
    }
    let path = "/v1/projects/p/locations/l/publishers/google/models/gemini:generateContent";
    if heard.path != path || header(heard, "authorization") != "bearer ya29.good" {
        return (401, r#"{"error":{"code":401,"status":"UNAUTHENTICATED"}}"#.to_owned());
    }
    let said = json!({
        "candidates": [{"content": {"role": "model", "parts": [{"text": "hello"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 5, "totalTokenCount": 12},
    });
    (200, said.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn vertex_takes_the_token_that_a_service_accounts_signature_was_good_for() {
    let installation = Installation::start();
    let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let public: Arc<[u8]> = key.public_key().as_ref().into();
    let der: Pkcs8V1Der<'_> = key.as_der().expect("PKCS #8");
    let encoded = STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{encoded}\n-----END PRIVATE KEY-----\n");
    let google = provider(&installation, move |heard| answer(heard, &public)).await;
    let tenant = Tenant::new(installation.region(REGION)).await;
    let file = json!({
        "type": "service_account", "project_id": "p", "private_key_id": "k1", "private_key": pem,
        "client_email": "svc@p.test", "client_id": "1", "token_uri": format!("{}/token", google.url),
        "universe_domain": "googleapis.com",
    });
    let deployment = CreateDeploymentRequest {
        provider: "vertex".to_owned(),
        endpoint: format!("{}/v1/projects/p/locations/l", google.url),
        upstream_model: "gemini".to_owned(),
        credential_id: tenant.credential(&file.to_string()).await,
        ..Default::default()
    };
    tenant.model(MODEL, deployment).await;
    for _ in 0..3 {
        let answer: Value = tenant.call(MODEL).await.json().await.expect("JSON");
        assert_eq!(answer["choices"][0]["message"]["content"], "hello", "{answer}");
    }
}
