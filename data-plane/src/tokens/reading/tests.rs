use super::*;

const NOW: Timestamp = Timestamp::from_micros(0);

fn answered(status: u16, body: &str) -> Result<Issued, Failed> {
    let status = StatusCode::from_u16(status).expect("a status");
    read(status, &HeaderMap::new(), body.as_bytes(), NOW)
}

fn why(status: u16, body: &str) -> Why {
    answered(status, body).expect_err(body).why
}

#[test]
fn a_token_is_one_that_a_header_can_carry_and_that_ends() {
    let entra =
        r#"{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"eyJ.a-b_c"}"#;
    let issued = answered(200, entra).expect("a token");
    assert_eq!(issued.authorization.to_str().expect("text"), "Bearer eyJ.a-b_c");
    assert!(issued.authorization.is_sensitive());
    assert_eq!(issued.lifetime, Duration::from_secs(3599));
    let long = r#"{"token_type":"bearer","expires_in":99999999999,"access_token":"t"}"#;
    assert_eq!(answered(200, long).expect("a token").lifetime, LONGEST_LIFE);
    let huge = format!(r#"{{"token_type":"Bearer","expires_in":9,"access_token":"{}"}}"#, "t".repeat(16_385));
    for garbage in [
        "",
        "{}",
        "<html>",
        r#"{"token_type":"mac","expires_in":9,"access_token":"t"}"#,
        r#"{"token_type":"Bearer","expires_in":0,"access_token":"t"}"#,
        r#"{"token_type":"Bearer","expires_in":-1,"access_token":"t"}"#,
        r#"{"token_type":"Bearer","expires_in":9,"access_token":""}"#,
        r#"{"token_type":"Bearer","expires_in":9,"access_token":"a\r\nx-b: c"}"#,
        r#"{"token_type":"Bearer","expires_in":9}"#,
        r#"{"token_type":"Bearer","access_token":"t"}"#,
        &huge,
    ] {
        assert_eq!(why(200, garbage), Why::Garbage, "{garbage}");
    }
}

#[test]
fn a_refusal_is_told_from_an_outage_and_nothing_of_its_text_is_kept() {
    let named = r#"{"error":"invalid_client","error_description":"canary"}"#;
    assert_eq!(why(401, named), Why::Refused(401, "invalid_client"));
    for text in [r#"{"error":"canary"}"#, "canary", r#"{"error":{"message":"canary"}}"#] {
        let told = why(400, text);
        assert_eq!(told, Why::Refused(400, "no reason that is known"));
        assert!(!told.to_string().contains("canary"));
    }
    for status in [429, 500, 503, 418, 204] {
        assert_eq!(why(status, named), Why::Unavailable(status));
    }
    for status in [301, 302, 307, 308] {
        assert_eq!(why(status, ""), Why::Redirect);
    }
    let later = HeaderMap::from_iter([(http::header::RETRY_AFTER, HeaderValue::from_static("7"))]);
    let failed = read(StatusCode::SERVICE_UNAVAILABLE, &later, b"", NOW).expect_err("an outage");
    assert_eq!(failed.after, Some(Duration::from_secs(7)));
}
