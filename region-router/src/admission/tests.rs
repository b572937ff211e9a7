use bailiwick_domain::key::ApiKey;
use http::{HeaderMap, StatusCode, header::AUTHORIZATION};
use proptest::prelude::*;

use super::*;

fn admission() -> Admission {
    let regions = Regions::builtin();
    let home = "http://127.0.0.1:8101".parse().expect("url");
    let regions = regions.with_endpoint(&"us-west-1".parse().expect("name"), home);
    let here = Jurisdiction::of(regions.by_name_str("eu-central-1").expect("built in"));
    Admission::new(here, regions)
}

fn head(authorization: Option<&str>) -> HeaderMap {
    let value = |value: &str| (AUTHORIZATION, value.parse().expect("a value"));
    HeaderMap::from_iter(authorization.map(value))
}

fn judge(head: &HeaderMap) -> Result<Admitted, ApiError> {
    admission().judge(&head.into())
}

fn refused(authorization: Option<&str>) -> ApiError {
    judge(&head(authorization)).err().expect("refused")
}

#[test]
fn r1_a_key_of_this_region_is_admitted_without_a_look_up() {
    let key = ApiKey::generate("euc1".parse().expect("code"));
    assert!(judge(&head(Some(&format!("Bearer {}", key.expose())))).is_ok());
    assert!(judge(&head(Some(&format!("bearer  {}", key.expose())))).is_ok());
}

#[test]
fn r6_a_foreign_key_is_told_its_home_from_the_head_alone_valid_or_not() {
    for key in [ApiKey::generate("usw1".parse().expect("code")).expose(), "bw_usw1_nonsense"] {
        let error = refused(Some(&format!("Bearer {key}")));
        assert_eq!((error.status, error.code), (StatusCode::MISDIRECTED_REQUEST, "wrong_region"));
        let home =
            error.headers.iter().find(|(name, _)| name == error::HOME_ENDPOINT).map(|(_, value)| value);
        assert_eq!(home.and_then(|value| value.to_str().ok()), Some("http://127.0.0.1:8101/"));
        assert!(error.message.contains("us-west-1") && !error.message.contains(key), "{}", error.message);
    }
}

#[test]
fn everything_else_is_one_and_the_same_401() {
    let whole = ApiKey::generate("euc1".parse().expect("code"));
    let cut = whole.expose().get(..60).expect("long enough");
    let mut texts = std::collections::BTreeSet::new();
    for value in ["Bearer sk-abc", "Bearer bw_zzz9_x", "Bearer bw_euc1_x", &format!("Bearer {cut}")] {
        let error = refused(Some(value));
        assert_eq!((error.status, error.code), (StatusCode::UNAUTHORIZED, "invalid_api_key"), "{value}");
        texts.insert(error.message);
    }
    assert_eq!(texts.len(), 1);
    for value in [None, Some("Basic abc"), Some("Bearer")] {
        assert_eq!(refused(value).code, "missing_api_key", "{value:?}");
    }
}

#[test]
fn r6_a_key_in_x_api_key_is_judged_as_one_in_authorization() {
    let here = ApiKey::generate("euc1".parse().expect("code"));
    let with = |key: &str| {
        let mut head = head(None);
        head.insert("x-api-key", key.parse().expect("value"));
        head
    };
    assert!(judge(&with(here.expose())).is_ok());
    let code = |head: &HeaderMap| judge(head).err().map(|error| error.code);
    assert_eq!(code(&with("bw_usw1_x")), Some("wrong_region"));
    assert_eq!(code(&with("sk-abc")), Some("invalid_api_key"));
    let mut two = with("bw_usw1_x");
    two.append("x-api-key", here.expose().parse().expect("value"));
    assert_eq!(code(&two), Some("invalid_api_key"));
    let mut both = with(here.expose());
    both.insert(AUTHORIZATION, "Bearer bw_usw1_x".parse().expect("value"));
    assert_eq!(code(&both), Some("invalid_api_key"));
}

#[test]
fn two_authorizations_are_none() {
    let key = ApiKey::generate("euc1".parse().expect("code"));
    let mut head = head(Some("Bearer bw_usw1_x"));
    head.append(AUTHORIZATION, format!("Bearer {}", key.expose()).parse().expect("value"));
    assert_eq!(judge(&head).err().map(|error| error.code), Some("invalid_api_key"));
}

proptest! {
    #[test]
    fn no_header_makes_it_panic(value in "[ -~]{0,100}") {
        let _ = judge(&head(Some(&value)));
    }
}
