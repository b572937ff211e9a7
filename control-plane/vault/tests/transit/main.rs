//! A master key in a transit engine: against a real one (OpenBao, which speaks Vault's API), and against servers that are none.
//!
//! `BAILIWICK_TEST_OPENBAO` names the program `bao`; `./tests/run` installs it.

#![expect(
    clippy::expect_used,
    reason = "this crate is all test: what fails here fails the test that it is in"
)]

mod openbao;
mod pretender;

use std::time::Duration;

use bailiwick_core::ports::vault::{KeyScope, SealContext, Vault as _, VaultError, WrappedDataKey};
use bailiwick_domain::{id::Organization, jurisdiction::Jurisdiction, region::Regions, time::Timestamp};
use bailiwick_vault::{KeyHierarchy, MasterKeySource, TransitKey};
use secrecy::SecretString;

use crate::{openbao::OpenBao, pretender::Pretender};

const PLACE: SealContext<'static> = SealContext { table: "t", column: "c", row: "r" };
const KEY: &str = "master-euc1";

/// A hierarchy of a region whose master key is in a transit engine.
async fn hierarchy(region: &str, key: TransitKey) -> KeyHierarchy {
    let region = region.parse().expect("good");
    KeyHierarchy::new(region, MasterKeySource::Transit(key), Vec::new()).await.expect("nothing is called yet")
}

fn transit(address: &str, mount: &str, key: &str, token: &str) -> TransitKey {
    TransitKey {
        address: address.parse().expect("URL"),
        mount: mount.to_owned(),
        key: key.to_owned(),
        token: SecretString::from(token),
        root_pem: None,
    }
}

fn organization(entropy: u128) -> KeyScope {
    let eu = Jurisdiction::of(Regions::builtin().by_name_str("eu-central-1").expect("built in"));
    KeyScope::Organization(eu.mint::<Organization>(Timestamp::default(), entropy))
}

/// Why a key does not unlock. `forget` first: what is in memory needs no server.
async fn refusal(vault: &KeyHierarchy, key: &WrappedDataKey) -> VaultError {
    vault.forget(key.scope);
    vault.unlock(key).await.err().expect("refused")
}

fn assert_away(error: &VaultError, saying: &str) {
    assert!(matches!(error, VaultError::Unavailable(said) if said.contains(saying)), "{error:?}");
}

#[tokio::test]
async fn r4_a_data_key_unwraps_in_its_place_and_nowhere_else() {
    let server = OpenBao::start();
    server.transit("transit", &[KEY, "master-usw1"]);
    let token = server.token(KEY, "1h");
    let ours = hierarchy("euc1", server.key("transit", KEY, &token)).await;
    let key = ours.create_data_key(organization(1), 3).await.expect("wrapped");
    assert!(key.wrapped.starts_with(b"vault:v1:") && key.master == "vault-transit:transit/master-euc1");
    let sealed = ours.unlock(&key).await.expect("unlocked").seal(PLACE, b"value").expect("sealed");
    ours.forget(key.scope);
    let opened =
        ours.unlock(&key).await.expect("unwrapped by the server").open(PLACE, &sealed).expect("opens");
    assert_eq!(&**opened, b"value");

    // The engine itself refuses other associated data: another organization's, another version's, another region's.
    for moved in [
        WrappedDataKey { scope: organization(2), ..key.clone() },
        WrappedDataKey { scope: KeyScope::Region, ..key.clone() },
        WrappedDataKey { version: 4, ..key.clone() },
    ] {
        assert!(matches!(refusal(&ours, &moved).await, VaultError::DoesNotOpen), "{moved:?}");
    }
    let west = hierarchy("usw1", server.key("transit", KEY, &token)).await;
    assert!(matches!(refusal(&west, &key).await, VaultError::DoesNotOpen));
    // Changed bytes, and bytes that are no ciphertext of this engine.
    for damage in [&b"vault:v1:AAAA"[..], b"", b"\xff\xfe", b"vault:v9:AAAA", b"../../sys/seal"] {
        let damaged = WrappedDataKey { wrapped: damage.to_vec(), ..key.clone() };
        assert!(matches!(refusal(&ours, &damaged).await, VaultError::DoesNotOpen), "{damage:?}");
    }
    let mut last = key.wrapped.clone();
    let end = last.len() - 3;
    last[end] = if last[end] == b'A' { b'B' } else { b'A' };
    let changed = WrappedDataKey { wrapped: last, ..key.clone() };
    assert!(matches!(refusal(&ours, &changed).await, VaultError::DoesNotOpen));
}

#[tokio::test]
async fn r4_another_regions_key_is_refused_by_name_and_by_policy() {
    let server = OpenBao::start();
    server.transit("transit", &[KEY, "master-usw1"]);
    let ours = hierarchy("euc1", server.key("transit", KEY, &server.token(KEY, "1h"))).await;
    let key = ours.create_data_key(organization(1), 1).await.expect("wrapped");
    // Under another name it is no key that this hierarchy knows …
    let theirs = hierarchy("euc1", server.key("transit", "master-usw1", &server.token(KEY, "1h"))).await;
    assert!(matches!(refusal(&theirs, &key).await, VaultError::UnknownMasterKey(name) if name == key.master));
    // … and a token of one region may not use the other's key, whatever it is called.
    let renamed = WrappedDataKey { master: theirs.master_key().to_owned(), ..key.clone() };
    assert_away(&refusal(&theirs, &renamed).await, "403");
    assert_away(&theirs.create_data_key(organization(1), 1).await.expect_err("not theirs"), "403");
    // With a token that may do both, the ciphertext is of another key still.
    let both = hierarchy("euc1", server.key("transit", "master-usw1", openbao::ROOT)).await;
    assert!(matches!(refusal(&both, &renamed).await, VaultError::DoesNotOpen));
}

#[tokio::test]
async fn r4_a_key_that_was_rotated_in_the_engine_opens_what_it_wrapped_before_until_that_is_forbidden() {
    let server = OpenBao::start();
    server.transit("transit", &[KEY]);
    let ours = hierarchy("euc1", server.key("transit", KEY, &server.token(KEY, "1h"))).await;
    let old = ours.create_data_key(organization(1), 1).await.expect("wrapped");
    server.run(&["write", "-f", "transit/keys/master-euc1/rotate"]);
    ours.forget(old.scope);
    ours.unlock(&old).await.expect("version 1 is there still");
    let rewrapped = ours.rewrap(&old).await.expect("rewrapped");
    assert!(rewrapped.wrapped.starts_with(b"vault:v2:"), "the newest version wraps");
    server.run(&["write", "transit/keys/master-euc1/config", "min_decryption_version=2"]);
    assert!(matches!(refusal(&ours, &old).await, VaultError::DoesNotOpen));
    ours.unlock(&rewrapped).await.expect("of version 2");
}

#[tokio::test]
async fn a_key_that_cannot_do_what_it_should_is_told_apart_from_a_server_that_is_away() {
    let server = OpenBao::start();
    server.transit("transit", &[]);
    server.run(&["write", "-f", "transit/keys/rsa", "type=rsa-2048"]);
    for (mount, key) in [("transit", "rsa"), ("elsewhere", KEY)] {
        let vault = hierarchy("euc1", server.key(mount, key, openbao::ROOT)).await;
        let refused = vault.create_data_key(organization(1), 1).await.expect_err("it cannot");
        assert!(matches!(&refused, VaultError::MasterKey(said) if said.contains(key)), "{refused:?}");
    }
}

#[tokio::test]
async fn an_engine_in_a_namespace_is_found_by_its_path() {
    let server = OpenBao::start();
    server.run(&["namespace", "create", "team"]);
    server.run(&["secrets", "enable", "-namespace=team", "transit"]);
    server.run(&["write", "-namespace=team", "-f", "transit/keys/master-euc1", "type=aes256-gcm96"]);
    let ours = hierarchy("euc1", server.key("team/transit", KEY, openbao::ROOT)).await;
    let key = ours.create_data_key(organization(1), 1).await.expect("wrapped");
    ours.forget(key.scope);
    ours.unlock(&key).await.expect("unwrapped");
}

#[tokio::test]
async fn a_sealed_server_an_ended_token_and_a_dead_server_are_away_and_what_is_in_memory_serves_on() {
    let mut server = OpenBao::start();
    server.transit("transit", &[KEY]);
    let ours = hierarchy("euc1", server.key("transit", KEY, &server.token(KEY, "1h"))).await;
    let (kept, other) = (organization(1), organization(2));
    let kept = ours.create_data_key(kept, 1).await.expect("wrapped");
    let other = ours.create_data_key(other, 1).await.expect("wrapped");
    ours.unlock(&kept).await.expect("unlocked");

    server.run(&["operator", "seal"]);
    ours.unlock(&kept).await.expect("from memory");
    assert_away(&refusal(&ours, &other).await, "503");
    assert_away(&ours.create_data_key(organization(3), 1).await.expect_err("sealed"), "503");
    server.unseal();
    ours.unlock(&other).await.expect("it is back");

    // A token that ends while the process runs.
    let brief = hierarchy("euc1", server.key("transit", KEY, &server.token(KEY, "1s"))).await;
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    let ended = loop {
        brief.forget(kept.scope);
        match brief.unlock(&kept).await {
            Err(error) => break error,
            Ok(_) => assert!(std::time::Instant::now() < deadline, "a token of one second"),
        }
    };
    assert_away(&ended, "403");

    server.stop();
    assert_away(&refusal(&ours, &other).await, "cannot be reached");
    ours.unlock(&kept).await.expect("from memory");
}

#[tokio::test]
async fn a_server_is_trusted_by_the_root_that_was_named_and_by_no_other() {
    let server = OpenBao::start_with_tls();
    server.transit("transit", &[KEY]);
    let token = server.token(KEY, "1h");
    let named = TransitKey { root_pem: Some(server.root_pem()), ..server.key("transit", KEY, &token) };
    hierarchy("euc1", named).await.create_data_key(organization(1), 1).await.expect("wrapped");
    // Browsers do not know it.
    let strangers = hierarchy("euc1", server.key("transit", KEY, &token)).await;
    let refused = strangers.create_data_key(organization(1), 1).await.expect_err("a stranger");
    assert_away(&refused, "cannot be reached");
}

#[tokio::test]
async fn nothing_that_a_server_answers_is_taken_for_a_data_key_unless_it_is_one() {
    let key = WrappedDataKey {
        scope: organization(1),
        version: 1,
        master: "vault-transit:transit/k".to_owned(),
        wrapped: b"vault:v1:x".to_vec(),
    };
    let oversized = format!(r#"{{"data":{{"plaintext":"{}"}}}}"#, "A".repeat(1 << 20));
    let cases = [
        ("200 OK", "<html>", "crypto"),
        ("200 OK", r#"{"data":{}}"#, "crypto"),
        ("200 OK", r#"{"data":{"plaintext":5}}"#, "crypto"),
        ("200 OK", r#"{"data":{"plaintext":"not base64"}}"#, "does not open"),
        ("200 OK", r#"{"data":{"plaintext":"c2hvcnQ="}}"#, "does not open"),
        ("200 OK", &oversized, "away"),
        ("500 Internal Server Error", "", "away"),
        ("429 Too Many Requests", "", "away"),
    ];
    for (status, body, expected) in cases {
        let server = Pretender::answering(status, "", body).await;
        let vault = hierarchy("euc1", transit(&server.address(), "transit", "k", "secret-token")).await;
        let refused = refusal(&vault, &key).await;
        let found = match &refused {
            VaultError::Crypto => "crypto",
            VaultError::DoesNotOpen => "does not open",
            VaultError::Unavailable(_) => "away",
            _ => "something else",
        };
        assert_eq!(found, expected, "{status} {:.60}: {refused:?}", body);
        assert!(!format!("{refused} {refused:?} {vault:?}").contains("secret-token"));
        // Only what can pass is tried again.
        assert_eq!(server.asked(), if expected == "away" { 3 } else { 1 }, "{status} {body:.60}");
    }
}

#[tokio::test]
async fn a_redirect_does_not_take_the_token_elsewhere() {
    let elsewhere = Pretender::answering("200 OK", "", "{}").await;
    let location = format!("Location: {}/v1/transit/encrypt/k\r\n", elsewhere.address());
    let server = Pretender::answering("307 Temporary Redirect", &location, "").await;
    let vault = hierarchy("euc1", transit(&server.address(), "transit", "k", "secret-token")).await;
    assert_away(&vault.create_data_key(organization(1), 1).await.expect_err("no answer"), "307");
    assert_eq!(elsewhere.asked(), 0);
}

/// The clock of this test runs ahead whenever nothing else is left to do, as it is while a server is silent.
#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up_on() {
    let server = Pretender::silent().await;
    let vault = hierarchy("euc1", transit(&server.address(), "transit", "k", "t")).await;
    let started = tokio::time::Instant::now();
    assert_away(&vault.create_data_key(organization(1), 1).await.expect_err("no answer"), "");
    let waited = started.elapsed();
    assert!(waited >= Duration::from_secs(15) && waited < Duration::from_secs(20), "{waited:?}");
}
