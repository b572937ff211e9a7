//! Where calls go, and how they are authenticated.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use crate::{
    Authentication, Call, Dialect, Target,
    bedrock::{AwsCredentials, sign},
    passes_anthropic_beta,
};

use super::world;

#[test]
fn every_call_has_a_place_at_every_provider_or_a_reason_why_not() {
    let mut table = String::new();
    for dialect in Dialect::ALL {
        for call in Call::ALL {
            let path = world::target(dialect).path(call, false);
            let outcome = path.unwrap_or_else(|refused| format!("refused: {refused}"));
            let support = format!("{:?}", crate::support(call, dialect));
            let support = support.split('(').next().unwrap_or_default();
            let _ = writeln!(table, "{:<30} {:<22} {support:<10} {outcome}", dialect.name(), call.path());
        }
    }
    insta::assert_snapshot!("places", table);
}

#[test]
fn streams_have_places_of_their_own_where_the_path_tells() {
    let stream = |dialect| world::target(dialect).path(Call::ChatCompletions, true).expect("served");
    assert_eq!(stream(Dialect::Gemini), "/models/model-1:streamGenerateContent?alt=sse");
    assert_eq!(stream(Dialect::Vertex), "/publishers/google/models/model-1:streamGenerateContent?alt=sse");
    assert_eq!(stream(Dialect::Bedrock), "/model/anthropic.model-1%3A0/converse-stream");
    assert_eq!(stream(Dialect::Anthropic), "/messages");
    let azure = Target { api_version: Some("v1"), ..Target::new(Dialect::AzureOpenAi, "d") };
    assert_eq!(azure.path(Call::ChatCompletions, true).as_deref(), Ok("/v1/chat/completions"));
}

#[test]
fn each_dialect_has_its_own_way_to_say_who_calls() {
    let of = |dialect| world::target(dialect).authentication();
    assert_eq!(of(Dialect::OpenAi), Authentication::Bearer);
    assert_eq!(of(Dialect::AzureOpenAi), Authentication::ApiKey("api-key"));
    assert_eq!(of(Dialect::Anthropic), Authentication::ApiKey("x-api-key"));
    assert_eq!(of(Dialect::Gemini), Authentication::ApiKey("x-goog-api-key"));
    assert_eq!(of(Dialect::Vertex), Authentication::Bearer);
    assert_eq!(of(Dialect::Bedrock), Authentication::SigV4 { service: "bedrock", region: "eu-central-1" });
    let entra = Target { bearer: true, ..Target::new(Dialect::AzureOpenAi, "d") };
    assert_eq!(entra.authentication(), Authentication::Bearer);
}

#[test]
fn betas_pass_between_anthropics_own_dialect_alone() {
    let beta = "interleaved-thinking-2025-05-14, context-1m-2025-08-07";
    assert!(passes_anthropic_beta(Call::Messages, Dialect::Anthropic, beta));
    assert!(!passes_anthropic_beta(Call::ChatCompletions, Dialect::Anthropic, beta));
    assert!(!passes_anthropic_beta(Call::Messages, Dialect::Bedrock, beta));
    assert!(!passes_anthropic_beta(Call::Messages, Dialect::Anthropic, "a\r\nx: y"));
    assert!(!passes_anthropic_beta(Call::Messages, Dialect::Anthropic, &"a".repeat(2000)));
}

#[test]
fn a_signature_is_of_the_whole_request_and_of_its_time() {
    let credentials = AwsCredentials {
        access_key_id: "AKIDEXAMPLE",
        secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        session_token: Some("token"),
    };
    assert_eq!(format!("{credentials:?}"), "[redacted]");
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_000_000);
    let url = "https://bedrock-runtime.eu-central-1.amazonaws.com/model/anthropic.m-1%3A0/converse";
    let of = |body: &[u8], now| {
        let headers = [("content-type", "application/json")];
        let signed = sign(url, &headers, body, credentials, "eu-central-1", "bedrock", now).expect("signed");
        let header =
            |name: &str| signed.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        assert_eq!(header("x-amz-security-token").as_deref(), Some("token"));
        (header("authorization").expect("a signature"), header("x-amz-date").expect("a date"))
    };
    let (authorization, date) = of(b"{}", now);
    assert_eq!(date, "20251124T160000Z");
    assert!(authorization.starts_with(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20251124/eu-central-1/bedrock/aws4_request, SignedHeaders=content-type;host;x-amz-date"
    ), "{authorization}");
    assert_eq!(authorization, of(b"{}", now).0);
    assert_ne!(authorization, of(b"{ }", now).0);
    assert_ne!(authorization, of(b"{}", now + Duration::from_secs(1)).0);
}

/// `post-vanilla` of the test suite that AWS publishes for its signatures.
#[test]
fn a_signature_is_what_aws_says_it_is() {
    let credentials = AwsCredentials {
        access_key_id: "AKIDEXAMPLE",
        secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        session_token: None,
    };
    // 2015-08-30T12:36:00Z
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160);
    let signed = sign("https://example.amazonaws.com/", &[], b"", credentials, "us-east-1", "service", now)
        .expect("signed");
    let authorization =
        signed.iter().find(|(name, _)| name == "authorization").map(|(_, value)| value.as_str());
    assert_eq!(
        authorization,
        Some(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, \
             Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
        )
    );
}

/// The signer traces what it signs. With everything traced, there is nothing of the body, nor of the key, in it.
#[test]
fn r8_what_is_signed_is_not_traced() {
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let credentials = AwsCredentials {
        access_key_id: "AKIDEXAMPLE",
        secret_access_key: "canary-key",
        session_token: Some("canary-token"),
    };
    tracing::subscriber::with_default(subscriber, || {
        let headers = [("content-type", "application/json")];
        let url = "https://bedrock-runtime.eu-central-1.amazonaws.com/model/m/converse";
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_000_000);
        sign(url, &headers, b"canary-prompt", credentials, "eu-central-1", "bedrock", now).expect("signed");
    });
    let text = String::from_utf8_lossy(&written.0.lock().expect("not poisoned")).into_owned();
    assert!(text.contains("signing request"), "it traces: {text}");
    for canary in ["canary-prompt", "canary-key"] {
        assert!(!text.contains(canary), "{canary}: {text}");
    }
    let bytes = format!("{:?}", b"canary-prompt");
    assert!(!text.contains(bytes.trim_matches(['[', ']'])), "not as numbers either");
}

/// The signer has a switch in the environment that makes it trace bodies. It has no effect here.
#[test]
fn r8_what_is_signed_is_not_traced_where_the_environment_wants_it_either() {
    let other = "tests::outgoing::r8_what_is_signed_is_not_traced";
    let output = std::process::Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", other])
        .env("LOG_SIGNABLE_BODY", "true")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
