use super::*;

#[test]
fn an_aws_key_is_json_and_everything_else_is_shown_as_it_is() {
    let ProviderSecret::Shown(shown) = ProviderSecret::parse("sk-provider").expect("a key") else {
        panic!("nothing to sign with")
    };
    assert_eq!(shown.expose_secret(), "sk-provider");
    let text = "{\n  \"access_key_id\": \"AKIDEXAMPLE\", \"secret_access_key\": \"wJalr\\/K7MD+x\"}";
    let ProviderSecret::Aws(key) = ProviderSecret::parse(text).expect("a key") else { panic!("a key") };
    assert_eq!(
        (key.id(), key.secret(), key.session_token(), key.region()),
        ("AKIDEXAMPLE", "wJalr/K7MD+x", None, None)
    );
    let text =
        r#"{"access_key_id":"ASIA1","secret_access_key":"s","session_token":"t/+=","region":"eu-central-1"}"#;
    let ProviderSecret::Aws(key) = ProviderSecret::parse(text).expect("a key") else { panic!("a key") };
    assert_eq!((key.session_token(), key.region()), (Some("t/+="), Some("eu-central-1")));
    assert_eq!(format!("{key:?}"), "AwsKey([redacted])");
}

#[test]
fn what_has_no_form_is_refused_and_not_repeated() {
    for text in ["", " sk", "sk x", "ключ", "sk\n", &"a".repeat(4097)] {
        assert_eq!(ProviderSecret::parse(text).expect_err(text), ProviderSecretError::Shown);
    }
    for text in [
        "{",
        "{}",
        r#"{"access_key_id":"A"}"#,
        r#"{"access_key_id":"","secret_access_key":"s"}"#,
        r#"{"access_key_id":"A/20260101","secret_access_key":"s"}"#,
        r#"{"access_key_id":"A","secret_access_key":"s s"}"#,
        r#"{"access_key_id":"A","secret_access_key":"s","session_token":"a\r\nb"}"#,
        r#"{"access_key_id":"A","secret_access_key":"s","region":"EU"}"#,
        r#"{"access_key_id":"A","secret_access_key":"s","profile":"x"}"#,
        r#"{"access_key_id":"A","secret_access_key":"s"} x"#,
    ] {
        let refused = ProviderSecret::parse(text).expect_err(text);
        assert_eq!(refused, ProviderSecretError::Aws, "{text}");
    }
}

#[test]
fn the_host_says_which_region_signs() {
    for (host, region) in [
        ("bedrock-runtime.eu-central-1.amazonaws.com", Some("eu-central-1")),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", Some("us-gov-west-1")),
        ("vpce-0123-abcd.bedrock-runtime.us-east-1.vpce.amazonaws.com", Some("us-east-1")),
        ("bedrock-runtime.eu-central-1.api.aws", Some("eu-central-1")),
        ("bedrock-runtime.example", None),
        ("bedrock-runtime", None),
        ("eu-central-1.amazonaws.com", None),
        ("bedrock-runtime.eu-central-.amazonaws.com", None),
        ("127.0.0.1", None),
        ("", None),
    ] {
        assert_eq!(aws_region_of(host), region, "{host}");
    }
}
