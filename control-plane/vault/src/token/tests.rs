use aws_lc_rs::signature::Ed25519KeyPair;
use bailiwick_domain::{
    jurisdiction::Jurisdiction, key::ServiceSecret, organization::OrganizationRole, region::Regions,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::*;

const ISSUER: &str = "spiffe://eu-central-1.test/control-plane";
const AUDIENCE: &str = "bailiwick-admin/eu-central-1";

struct Region {
    id: TokenKeyId,
    key: Zeroizing<Vec<u8>>,
    claims: Claims,
}

impl Region {
    fn new() -> Self {
        let home = Jurisdiction::of(Regions::builtin().by_name_str("eu-central-1").expect("a region"));
        let at = |second| Timestamp::from_micros(second * MICROS);
        let claims = Claims {
            issuer: ISSUER.to_owned(),
            audience: AUDIENCE.to_owned(),
            account: ServiceSecret::generate(home.code()).account(),
            organization: *home.mint_random(at(0)).get(),
            role: OrganizationRole::Admin,
            secret_version: 3,
            issued_at: at(1_790_000_000),
            not_before: at(1_790_000_000),
            expires_at: at(1_790_000_900),
            id: "one".to_owned(),
        };
        Self { id: *home.mint_random(at(0)).get(), key: EdDsa.new_key().expect("made"), claims }
    }

    fn token(&self) -> String {
        EdDsa.sign(self.id, &self.key, &self.claims).expect("signed").expose_secret().to_owned()
    }

    fn verify(&self, token: &str) -> Result<Claims, TokenRefused> {
        EdDsa.verify(token, &self.key, ISSUER, AUDIENCE)
    }

    /// A token of any header and claims, signed by the region's own key.
    fn signed(&self, header: &Value, claims: &Value) -> String {
        let pair = Ed25519KeyPair::from_pkcs8(&self.key).expect("a key");
        let message = format!("{}.{}", part(header), part(claims));
        let signature = BASE64.encode(pair.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn header(&self) -> Value {
        json!({"typ": "JWT", "alg": "EdDSA", "kid": self.id.to_string()})
    }

    fn claims(&self) -> Value {
        serde_json::to_value(Wire::from(&self.claims)).expect("JSON")
    }
}

fn part(value: &Value) -> String {
    BASE64.encode(value.to_string())
}

fn with(mut value: Value, name: &str, to: Value) -> Value {
    value.as_object_mut().expect("an object").insert(name.to_owned(), to);
    value
}

#[test]
fn a_token_says_what_it_was_made_of() {
    let region = Region::new();
    let token = region.token();
    assert_eq!(EdDsa.key_id(&token), Ok(region.id));
    assert_eq!(region.verify(&token), Ok(region.claims.clone()));
    // What the tests below forge is one too, when nothing of it is wrong.
    assert_eq!(region.verify(&region.signed(&region.header(), &region.claims())), Ok(region.claims.clone()));
}

#[test]
fn only_ed25519_is_accepted_whatever_the_header_says() {
    let region = Region::new();
    let pair = Ed25519KeyPair::from_pkcs8(&region.key).expect("a key");
    let public = pair.public_key().as_ref();
    let message =
        |alg: &str| format!("{}.{}", part(&with(region.header(), "alg", json!(alg))), part(&region.claims()));
    // Nothing signs it.
    for alg in ["none", "None", "NONE", ""] {
        let token = format!("{}.", message(alg));
        assert!(EdDsa.key_id(&token).is_err(), "{alg}");
        assert!(region.verify(&token).is_err(), "{alg}");
    }
    // The public key, which is nobody's secret, taken as one.
    for (alg, algorithm) in [
        ("HS256", aws_lc_rs::hmac::HMAC_SHA256),
        ("HS384", aws_lc_rs::hmac::HMAC_SHA384),
        ("HS512", aws_lc_rs::hmac::HMAC_SHA512),
    ] {
        let tag =
            aws_lc_rs::hmac::sign(&aws_lc_rs::hmac::Key::new(algorithm, public), message(alg).as_bytes());
        let token = format!("{}.{}", message(alg), BASE64.encode(tag));
        assert_eq!(EdDsa.key_id(&token), Err(TokenRefused::Header), "{alg}");
        assert_eq!(region.verify(&token), Err(TokenRefused::Header), "{alg}");
    }
    // A good signature under another name.
    for alg in ["ES256", "RS256", "PS512"] {
        let token = region.signed(&with(region.header(), "alg", json!(alg)), &region.claims());
        assert_eq!(region.verify(&token), Err(TokenRefused::Header), "{alg}");
    }
}

#[test]
fn a_header_brings_nothing_along() {
    let region = Region::new();
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64.encode([1; 32])});
    for (name, value) in [
        ("jwk", jwk),
        ("jku", json!("https://example.com/keys")),
        ("x5u", json!("https://example.com/chain")),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("typ", json!("at+jwt")),
        ("kid", json!("../../etc/passwd")),
        ("kid", Value::Null),
    ] {
        let token = region.signed(&with(region.header(), name, value.clone()), &region.claims());
        assert!(EdDsa.key_id(&token).is_err(), "{name}: {value}");
        assert!(region.verify(&token).is_err(), "{name}: {value}");
    }
}

#[test]
fn another_key_under_the_same_name_signs_nothing() {
    let region = Region::new();
    let other = EdDsa.new_key().expect("made");
    let forged = EdDsa.sign(region.id, &other, &region.claims).expect("signed");
    assert_eq!(region.verify(forged.expose_secret()), Err(TokenRefused::Signature));
}

#[test]
fn nothing_of_a_token_can_be_changed() {
    let region = Region::new();
    let token = region.token();
    for place in (0..token.len()).filter(|place| token.as_bytes().get(*place) != Some(&b'.')) {
        let mut bytes = token.clone().into_bytes();
        let byte = bytes.get_mut(place).expect("within");
        *byte = if *byte == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).expect("ASCII");
        // The last character of a part can spell the same bytes in more than one way; strict decoding refuses those that are not canonical.
        assert!(region.verify(&changed).is_err(), "place {place}");
    }
    for cut in [
        token.get(..token.len() - 1).expect("ASCII"),
        token.rsplit_once('.').expect("parts").0,
        "",
        ".",
        "..",
        "a.b.c",
    ] {
        assert!(region.verify(cut).is_err(), "{cut}");
    }
    assert!(region.verify(&format!("{token}.{token}")).is_err());
}

#[test]
fn another_issuer_or_audience_is_refused() {
    let region = Region::new();
    for (name, value, refused) in [
        ("iss", json!("spiffe://us-west-1.test/control-plane"), TokenRefused::Issuer),
        ("iss", json!("spiffe://eu-central-1.other/control-plane"), TokenRefused::Issuer),
        ("aud", json!("bailiwick-admin/us-west-1"), TokenRefused::Audience),
        ("aud", json!("bailiwick"), TokenRefused::Audience),
    ] {
        let token = region.signed(&region.header(), &with(region.claims(), name, value.clone()));
        assert_eq!(region.verify(&token), Err(refused), "{name} {value}");
    }
    // One of several audiences is not ours to share.
    let many = with(region.claims(), "aud", json!([AUDIENCE, "somebody-else"]));
    assert!(region.verify(&region.signed(&region.header(), &many)).is_err());
}

#[test]
fn every_claim_is_required_and_no_other_is_taken() {
    let region = Region::new();
    let names: Vec<String> = region.claims().as_object().expect("an object").keys().cloned().collect();
    assert_eq!(names.len(), 10);
    for name in names {
        let mut lacking = region.claims();
        lacking.as_object_mut().expect("an object").remove(&name);
        assert!(region.verify(&region.signed(&region.header(), &lacking)).is_err(), "{name}");
        let odd = with(region.claims(), &name, json!({"a": 1}));
        assert!(region.verify(&region.signed(&region.header(), &odd)).is_err(), "{name}");
    }
    let more = with(region.claims(), "admin", json!(true));
    assert!(region.verify(&region.signed(&region.header(), &more)).is_err());
    let unknown = with(region.claims(), "role", json!("operator"));
    assert_eq!(region.verify(&region.signed(&region.header(), &unknown)), Err(TokenRefused::Claims));
}
