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
        r#"{"type":"authorized_user"}"#,
        r#"{"tenant_id":null}"#,
        r#"{"access_key_id":"A","secret_access_key":"s"} x"#,
    ] {
        assert_eq!(ProviderSecret::parse(text).expect_err(text), ProviderSecretError::Form, "{text}");
    }
    for text in [
        r#"{"access_key_id":"A"}"#,
        r#"{"access_key_id":"","secret_access_key":"s"}"#,
        r#"{"access_key_id":"A/20260101","secret_access_key":"s"}"#,
        r#"{"access_key_id":"A","secret_access_key":"s s"}"#,
        r#"{"access_key_id":"A","secret_access_key":"s","session_token":"a\r\nb"}"#,
        r#"{"access_key_id":"A","secret_access_key":"s","region":"EU"}"#,
        r#"{"access_key_id":"A","secret_access_key":"s","profile":"x"}"#,
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

const CLIENT: &str =
    r#"{"tenant_id":"2f4a9838-26b7-47ee-be60-ccc1fdec5953","client_id":"a0b1","client_secret":"s~8Q/+="}"#;

#[test]
fn a_client_of_entra_asks_its_tenant_at_the_public_cloud_unless_it_says_otherwise() {
    let ProviderSecret::Entra(client) = ProviderSecret::parse(CLIENT).expect("a client") else { panic!() };
    assert_eq!(
        client.issuer().as_str(),
        "https://login.microsoftonline.com/2f4a9838-26b7-47ee-be60-ccc1fdec5953/oauth2/v2.0/token"
    );
    assert_eq!((client.client_id(), client.secret()), ("a0b1", "s~8Q/+="));
    assert_eq!(client.scope(), "https://cognitiveservices.azure.com/.default");
    assert_eq!(format!("{client:?}"), "EntraClient([redacted])");
    let sovereign = CLIENT.replacen(
        '{',
        r#"{"authority":"https://login.microsoftonline.us/","scope":"https://cognitiveservices.azure.us/.default","#,
        1,
    );
    let ProviderSecret::Entra(client) = ProviderSecret::parse(&sovereign).expect("a client") else {
        panic!()
    };
    assert!(client.issuer().as_str().starts_with("https://login.microsoftonline.us/2f4a"));
    assert_eq!(client.scope(), "https://cognitiveservices.azure.us/.default");
    for (good, bad) in [
        ("2f4a9838-26b7-47ee-be60-ccc1fdec5953", ".."),
        ("2f4a9838-26b7-47ee-be60-ccc1fdec5953", "a/b"),
        ("2f4a9838-26b7-47ee-be60-ccc1fdec5953", "a?b"),
        ("a0b1", "a&scope=b"),
        ("s~8Q/+=", ""),
        ("s~8Q/+=", "a b"),
        ("client_secret", "password"),
        ("tenant_id\":", "authority\":\"http://login.test\",\"tenant_id\":"),
        ("tenant_id\":", "authority\":\"https://login.test/?a=b\",\"tenant_id\":"),
        ("tenant_id\":", "scope\":\"\",\"tenant_id\":"),
    ] {
        let text = CLIENT.replace(good, bad);
        assert_eq!(ProviderSecret::parse(&text).expect_err(&text), ProviderSecretError::Entra, "{text}");
    }
}

/// A key file as Google writes it, with `=` escaped as some have it.
fn key_file(pem: &str) -> String {
    let file = serde_json::json!({
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "kid1",
        "private_key": pem,
        "client_email": "svc@p.iam.gserviceaccount.com",
        "client_id": "1",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
        "universe_domain": "googleapis.com",
    });
    file.to_string().replace('=', "\\u003d")
}

fn pem_of(key: &aws_lc_rs::rsa::KeyPair) -> String {
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let der: Pkcs8V1Der<'_> = key.as_der().expect("PKCS #8");
    let text = STANDARD.encode(der.as_ref());
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("text")).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

#[test]
fn a_service_accounts_key_signs_who_asks_for_what_and_when() {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let key = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).expect("a key");
    let file = key_file(&pem_of(&key));
    let ProviderSecret::Google(key) = ProviderSecret::parse(&file).expect("a key") else { panic!() };
    assert_eq!(key.issuer().as_str(), "https://oauth2.googleapis.com/token");
    assert_eq!(format!("{key:?}"), "GoogleKey([redacted])");
    let now = crate::time::Timestamp::from_micros(1_764_000_000_500_000);
    let assertion = key.assertion(now).expect("signed");
    let (signed, signature) = assertion.rsplit_once('.').expect("three parts");
    let (header, claims) = signed.split_once('.').expect("three parts");
    let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).expect("base64url");
    let json = |text: &str| serde_json::from_slice::<serde_json::Value>(&decoded(text)).expect("JSON");
    assert_eq!(json(header), serde_json::json!({"alg": "RS256", "typ": "JWT", "kid": "kid1"}));
    let expected = serde_json::json!({
        "iss": "svc@p.iam.gserviceaccount.com",
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "aud": "https://oauth2.googleapis.com/token",
        "iat": 1_764_000_000,
        "exp": 1_764_003_600,
    });
    assert_eq!(json(claims), expected);
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key());
    public.verify(signed.as_bytes(), &decoded(signature)).expect("its own signature");
}

#[test]
fn what_is_no_rsa_key_is_refused_when_it_is_given_and_not_when_it_should_sign() {
    for pem in [
        "",
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
        "AAAA",
    ] {
        let refused = ProviderSecret::parse(&key_file(pem)).expect_err(pem);
        assert_eq!(refused, ProviderSecretError::Google, "{pem}");
    }
}
