//! AWS' signature, as Bedrock checks it.

use aws_lc_rs::{digest, hmac};
use bailiwick_proto::admin::v1::CreateDeploymentRequest;
use bailiwick_tests::{calls::refusal, installation::Installation, provider::Heard};
use serde_json::json;

use super::{Answer, MODEL, REGION, Tenant, header, provider};

const KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SESSION: &str = "a/token==";

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest(bytes: &[u8]) -> String {
    hexadecimal(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// Step by step after <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>, on what came over the wire. (Heads are heard in lower
/// case.)
fn is_signed(heard: &Heard) -> bool {
    let authorization = header(heard, "authorization");
    let parts = authorization.split_once(", signedheaders=").and_then(|(start, rest)| {
        let (signed, signature) = rest.split_once(", signature=")?;
        Some((start, signed, signature))
    });
    let Some((start, signed, signature)) = parts else { return false };
    let moment = header(heard, "x-amz-date").to_uppercase();
    let Some((day, _)) = moment.split_once('T') else { return false };
    let scope = format!("{day}/eu-central-1/bedrock/aws4_request");
    // Every service but S3 wants the path encoded once more.
    let path = heard.path.replace('%', "%25");
    let upper =
        |name: &str, value: &str| if name == "x-amz-date" { value.to_uppercase() } else { value.to_owned() };
    let headers: String =
        signed.split(';').map(|name| format!("{name}:{}\n", upper(name, header(heard, name)))).collect();
    let canonical = format!("POST\n{path}\n\n{headers}\n{signed}\n{}", digest(&heard.body));
    let to_sign = format!("AWS4-HMAC-SHA256\n{moment}\n{scope}\n{}", digest(canonical.as_bytes()));
    let key = ["eu-central-1", "bedrock", "aws4_request"]
        .iter()
        .fold(keyed(format!("AWS4{KEY}").as_bytes(), day), |key, part| keyed(&key, part));
    start == format!("aws4-hmac-sha256 credential=akidexample/{scope}")
        && signed == "content-type;host;x-amz-date;x-amz-security-token"
        && header(heard, "x-amz-security-token") == SESSION
        && signature == hexadecimal(&keyed(&key, &to_sign))
}

fn bedrock(heard: &Heard) -> Answer {
    if !is_signed(heard) {
        let told =
            r#"{"message":"The request signature we calculated does not match the signature you provided."}"#;
        return (403, told.to_owned());
    }
    let said = json!({
        "output": {"message": {"role": "assistant", "content": [{"text": "hello"}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 7, "outputTokens": 5, "totalTokens": 12},
    });
    (200, said.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn bedrock_finds_every_request_signed_by_the_key_that_was_given_and_by_no_other() {
    let installation = Installation::start();
    let aws = provider(&installation, bedrock).await;
    let tenant = Tenant::new(installation.region(REGION)).await;
    let key = |secret: &str| {
        let key = json!({"access_key_id": "AKIDEXAMPLE", "secret_access_key": secret, "session_token": SESSION, "region": "eu-central-1"});
        key.to_string()
    };
    let names = [(MODEL, KEY, 200), ("forged", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEX", 502)];
    for (name, secret, status) in names {
        // A colon in a path is where signers differ.
        let deployment = CreateDeploymentRequest {
            provider: "bedrock".to_owned(),
            endpoint: aws.url.clone(),
            upstream_model: "eu.anthropic.claude-3-5-sonnet-20240620-v1:0".to_owned(),
            credential_id: tenant.credential(&key(secret)).await,
            ..Default::default()
        };
        tenant.model(name, deployment).await;
        let answer = tenant.call(name).await;
        assert_eq!(answer.status(), status, "{name}");
        assert_eq!(answer.headers()["x-bailiwick-attempts"], "1", "{name}");
        if status == 200 {
            let answer: serde_json::Value = answer.json().await.expect("JSON");
            assert_eq!(answer["choices"][0]["message"]["content"], "hello", "{answer}");
        } else {
            let refused = refusal(answer).await;
            assert_eq!(refused.code, "provider_credential_refused");
            assert!(!refused.message.contains("signature"), "{}", refused.message);
        }
    }
}
