//! Providers' errors: their class, and what callers are told.

use crate::{Call, Class, Dialect, Failure};

use super::world;

fn read(dialect: Dialect, case: &str, status: u16) -> Failure {
    let body = world::fixture(&format!("{}/{case}.json", world::folder(dialect)));
    let header = match (dialect, case) {
        (Dialect::Bedrock, "credential") => Some("UnrecognizedClientException"),
        (Dialect::Bedrock, _) => Some("ValidationException"),
        _ => None,
    };
    Failure::read(dialect, status, header, &body)
}

#[test]
fn context_windows_and_policies_are_classes_of_their_own() {
    for dialect in Dialect::ALL {
        assert_eq!(read(dialect, "context", 400).class, Class::ContextLength, "{dialect}");
        assert_eq!(read(dialect, "policy", 400).class, Class::ContentPolicy, "{dialect}");
    }
}

#[test]
fn a_refused_credential_is_never_told() {
    for dialect in Dialect::ALL {
        let status = if matches!(dialect, Dialect::Gemini | Dialect::Vertex) { 400 } else { 403 };
        let failure = read(dialect, "credential", status);
        assert_eq!(failure.class, Class::Authentication, "{dialect}");
        for call in [Call::ChatCompletions, Call::Messages, Call::Responses] {
            let (status, body) = failure.answer(call, "req_1");
            assert_eq!(status, 502);
            assert!(!String::from_utf8_lossy(&body).contains("sk-secret"), "{dialect}");
        }
    }
}

#[test]
fn gemini_says_of_a_bad_key_that_the_request_is_invalid() {
    for body in [
        r#"{"error":{"code":400,"message":"API key expired. sk-secret","status":"INVALID_ARGUMENT"}}"#,
        r#"{"error":{"code":400,"message":"sk-secret","status":"INVALID_ARGUMENT","details":[{"@type":"x","n":1},{"reason":"API_KEY_INVALID"}]}}"#,
    ] {
        let failure = Failure::read(Dialect::Gemini, 400, None, body.as_bytes());
        assert_eq!(failure.class, Class::Authentication);
        assert!(!String::from_utf8_lossy(&failure.answer(Call::Responses, "r").1).contains("sk-secret"));
    }
}

#[test]
fn a_status_of_refused_credentials_outweighs_every_word() {
    for body in [
        &br#"{"error":{"type":"rate_limit_error","message":"key sk-secret is limited"}}"#[..],
        br#"{"error":{"type":"invalid_request_error","message":"key sk-secret is no key"}}"#,
    ] {
        for status in [401, 403] {
            let failure = Failure::read(Dialect::OpenAi, status, None, body);
            assert_eq!(failure.class, Class::Authentication);
            assert!(!String::from_utf8_lossy(&failure.answer(Call::Responses, "r").1).contains("sk-secret"));
        }
    }
}

#[test]
fn what_a_provider_says_of_the_organizations_account_stays_here() {
    for (status, body) in [
        (429, r#"{"error":{"type":"tokens","code":"rate_limit_exceeded","message":"limit of org-secret"}}"#),
        (
            429,
            r#"{"error":{"type":"insufficient_quota","code":"insufficient_quota","message":"org-secret owes"}}"#,
        ),
        (
            404,
            r#"{"error":{"type":"invalid_request_error","code":"model_not_found","message":"org-secret has none"}}"#,
        ),
        (500, r#"{"error":{"type":"server_error","message":"org-secret broke it"}}"#),
    ] {
        let failure = Failure::read(Dialect::OpenAi, status, None, body.as_bytes());
        for call in [Call::Messages, Call::Responses] {
            assert!(!String::from_utf8_lossy(&failure.answer(call, "r").1).contains("org-secret"), "{body}");
        }
    }
}

#[test]
fn statuses_tell_where_words_do_not() {
    for (status, class) in [
        (401, Class::Authentication),
        (404, Class::NotFound),
        (408, Class::Timeout),
        (413, Class::TooLarge),
        (422, Class::InvalidRequest),
        (429, Class::RateLimit),
        (500, Class::Server),
        (503, Class::Overloaded),
        (529, Class::Overloaded),
    ] {
        for dialect in Dialect::ALL {
            for body in [&b""[..], b"<html>", b"null", b"[]", br#"{"error":null}"#, br#"{"error":"x"}"#] {
                assert_eq!(Failure::read(dialect, status, None, body).class, class, "{dialect} {status}");
            }
        }
    }
}

#[test]
fn what_concerns_the_caller_is_told_in_the_callers_shape() {
    let failure = read(Dialect::Anthropic, "context", 400);
    let (status, body) = failure.answer(Call::ChatCompletions, "req_1");
    let body = world::json(&body);
    assert_eq!((status, &body["error"]["code"]), (400, &"context_length_exceeded".into()));
    assert_eq!(body["error"]["message"], "prompt is too long: 210000 tokens > 200000 maximum");
    let failure = Failure::read(Dialect::OpenAi, 503, None, b"");
    let (status, body) = failure.answer(Call::Messages, "req_1");
    let body = world::json(&body);
    assert_eq!(
        (status, &body["error"]["type"], &body["request_id"]),
        (529, &"overloaded_error".into(), &"req_1".into())
    );
}
