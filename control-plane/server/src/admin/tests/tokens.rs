//! Bearer tokens: how one is had, and what is refused.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bailiwick_core::{
    ports::{
        token::Claims,
        vault::{KeyScope, SealContext},
    },
    token_key::{OVERLAP, TokenKeys},
};
use bailiwick_domain::{
    id::TokenKeyId,
    jurisdiction::Local,
    key::{Pepper, ServiceAccountId, ServiceSecret},
    organization::OrganizationRole,
    time::{Clock as _, Timestamp},
};
use bailiwick_proto::{
    admin::v1::{IssueTokenRequest, token_service_client::TokenServiceClient},
    status::{reason_of, retry_after_of, violations_of},
};
use bytes::Bytes;
use secrecy::ExposeSecret as _;
use tonic::{Code, Status};
use zeroize::Zeroizing;

use super::{raw, world::World};

const GET: &str = "/bailiwick.admin.v1.ServiceAccountService/ListServiceAccounts";

/// The key that signs the region's tokens, which nobody but its control plane has.
async fn signing_key(world: &World) -> (Local<TokenKeyId>, Zeroizing<Vec<u8>>) {
    let parts = &world.control_plane.parts;
    let row = parts.store.token_key_list().await.expect("read").pop().expect("a key");
    let (text, mut opened) = (row.id.to_string(), None);
    for wrapped in parts.store.data_keys_fetch(KeyScope::Region).await.expect("read") {
        let key = parts.vault.unlock(&wrapped).await.expect("opens");
        let place = SealContext { table: "token_keys", column: "sealed", row: &text };
        opened = opened.or(key.open(place, &row.sealed).ok());
    }
    (row.id, opened.expect("opens"))
}

/// An organization with an account, and claims of a token that is good.
struct Held {
    world: World,
    organization: String,
    secret: String,
    claims: Claims,
}

impl Held {
    async fn new() -> Self {
        let world = World::new().await;
        let organization = world.organization().await;
        let (id, secret) = world.account(&organization, "admin").await;
        let now = Timestamp::from_micros(world.clock.now().as_micros() / 1_000_000 * 1_000_000);
        let claims = Claims {
            issuer: "spiffe://eu-central-1.test/control-plane".to_owned(),
            audience: "bailiwick-admin/eu-central-1".to_owned(),
            account: id.parse().expect("an id"),
            organization: organization.parse().expect("an id"),
            role: OrganizationRole::Admin,
            secret_version: 1,
            issued_at: now,
            not_before: now,
            expires_at: now.saturating_add(Duration::from_secs(900)),
            id: "one".to_owned(),
        };
        Self { world, organization, secret, claims }
    }

    async fn token(&self, claims: &Claims) -> String {
        let (id, key) = signing_key(&self.world).await;
        let token = self.world.control_plane.parts.tokens.sign(*id.get(), &key, claims).expect("signed");
        token.expose_secret().to_owned()
    }

    async fn call(&self, token: &str) -> Result<Bytes, Status> {
        let method = raw::methods(|service| service.ends_with("ServiceAccountService"));
        let list = method.iter().find(|method| method.path == GET).expect("the method");
        let fields = list.fields.iter().filter(|field| field.name == "organization_id");
        let message = raw::message(fields.map(|field| (field, self.organization.clone())));
        raw::call_as(self.world.visitor(), token, GET, message).await
    }
}

#[tokio::test]
async fn a_secret_gives_a_token_that_says_whose_it_is_and_when_it_ends() {
    let held = Held::new().await;
    let issued = held.world.try_token(&held.secret).await.expect("issued");
    assert_eq!(
        (issued.organization_id.as_str(), issued.role.as_str()),
        (held.organization.as_str(), "admin")
    );
    assert_eq!(issued.service_account_id, held.claims.account.to_string());
    let lives = Timestamp::from_micros(issued.expires_at_micros).saturating_since(held.world.clock.now());
    assert!(lives <= Duration::from_secs(900) && lives > Duration::from_secs(898), "{lives:?}");
    held.call(&issued.token).await.expect("served");
    held.world.clock.advance(Duration::from_secs(900));
    let refused = held.call(&issued.token).await.expect_err("expired");
    assert_eq!(reason_of(&refused).as_deref(), Some("invalid_token"));
}

#[tokio::test]
async fn a_shorter_life_can_be_asked_for_and_a_longer_one_not() {
    let held = Held::new().await;
    let ask = async |seconds| {
        let secret = held.secret.clone();
        let request = IssueTokenRequest { service_account_secret: secret, lifetime_seconds: seconds };
        TokenServiceClient::new(held.world.visitor()).issue_token(request).await
    };
    let token = ask(60).await.expect("issued").into_inner().token;
    held.call(&token).await.expect("served");
    held.world.clock.advance(Duration::from_secs(60));
    held.call(&token).await.expect_err("its end has no leeway");
    let refused = ask(901).await.expect_err("too long");
    assert_eq!(violations_of(&refused).first().map(|v| v.field.clone()).as_deref(), Some("lifetime_seconds"));
}

#[tokio::test]
async fn a_secret_that_is_unknown_revoked_replaced_or_wrong_gets_one_answer() {
    let held = Held::new().await;
    let world = &held.world;
    let account: ServiceAccountId = held.claims.account;
    let unknown = ServiceSecret::generate("euc1".parse().expect("good"));
    let wrong = ServiceSecret::another(account);
    let (gone, revoked) = world.account(&held.organization, "owner").await;
    let revoke = bailiwick_proto::admin::v1::RevokeServiceAccountRequest { id: gone };
    let mut accounts =
        bailiwick_proto::admin::v1::service_account_service_client::ServiceAccountServiceClient::new(
            world.operator(),
        );
    accounts.revoke_service_account(revoke).await.expect("revoked");
    let mut answers = BTreeSet::new();
    for secret in [unknown.expose(), wrong.expose(), &revoked] {
        let refused = world.try_token(secret).await.expect_err("refused");
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
        answers.insert((reason_of(&refused), refused.message().to_owned(), refused.details().to_vec()));
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    // What is stored is of use in this region alone.
    let elsewhere = wrong.digest(&Pepper::from_bytes([0; 32]));
    assert_ne!(elsewhere, wrong.digest(&world.control_plane.parts.pepper));
}

#[tokio::test]
async fn what_is_no_secret_is_judged_by_its_form_and_one_of_another_region_sent_home() {
    let held = Held::new().await;
    let key = held.world.key(&held.organization).await.api_key;
    let mistyped = format!("{}x", held.secret);
    for text in ["", "bwsvc_euc1_", key.as_str(), &mistyped] {
        let refused = held.world.try_token(text).await.expect_err(text);
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(!format!("{refused:?}").contains(held.secret.rsplit('_').next().expect("a part")));
    }
    let foreign = ServiceSecret::generate("usw1".parse().expect("good"));
    let refused = held.world.try_token(foreign.expose()).await.expect_err("foreign");
    assert_eq!(reason_of(&refused).as_deref(), Some("wrong_region"), "{refused}");
    let records = held.world.records("").await;
    assert_eq!(records.last().map(|record| record.action.as_str()), Some("foreign.refuse"));
}

#[tokio::test]
async fn whoever_tries_too_often_waits_with_a_good_secret_too() {
    let held = Held::new().await;
    let wrong = ServiceSecret::another(held.claims.account);
    let mut limited = None;
    for _ in 0..61 {
        let refused = held.world.try_token(wrong.expose()).await.expect_err("wrong");
        limited = Some(refused).filter(|refused| refused.code() == Code::ResourceExhausted);
    }
    let limited = limited.expect("the 61st within a minute");
    assert_eq!(reason_of(&limited).as_deref(), Some("token_limit"));
    assert!(retry_after_of(&limited).is_some_and(|after| after <= Duration::from_secs(60)));
    let refused = held.world.try_token(&held.secret).await.expect_err("limited");
    assert_eq!(refused.code(), Code::ResourceExhausted, "a good secret and a wrong one are told apart");
    held.world.minutes_pass(1);
    held.world.token(&held.secret).await;
}

/// Signed by the region's own key: nothing but the claims stands against them.
#[tokio::test]
async fn claims_that_are_not_so_are_refused_under_the_regions_own_signature() {
    let held = Held::new().await;
    let good = held.claims.clone();
    held.call(&held.token(&good).await)
        .await
        .expect("what is forged here is good when nothing of it is wrong");
    let other = held.world.organization().await;
    let later = |at: Timestamp, seconds| at.saturating_add(Duration::from_secs(seconds));
    let absent = ServiceSecret::generate("euc1".parse().expect("good")).account();
    let foreign = ServiceSecret::generate("usw1".parse().expect("good")).account();
    for (what, claims) in [
        ("not yet valid", Claims { not_before: later(good.not_before, 60), ..good.clone() }),
        ("made in the future", Claims { issued_at: later(good.issued_at, 60), ..good.clone() }),
        ("expired", Claims { expires_at: good.issued_at, ..good.clone() }),
        ("too long", Claims { expires_at: later(good.issued_at, 901), ..good.clone() }),
        ("another issuer", Claims { issuer: "spiffe://us-west-1.test/control-plane".into(), ..good.clone() }),
        ("another audience", Claims { audience: "bailiwick-admin/us-west-1".into(), ..good.clone() }),
        ("a stronger role", Claims { role: OrganizationRole::Owner, ..good.clone() }),
        ("a weaker role", Claims { role: OrganizationRole::Viewer, ..good.clone() }),
        ("another organization", Claims { organization: other.parse().expect("an id"), ..good.clone() }),
        ("another secret", Claims { secret_version: 2, ..good.clone() }),
        ("no such account", Claims { account: absent, ..good.clone() }),
        ("an account of another region", Claims { account: foreign, ..good.clone() }),
    ] {
        let refused = held.call(&held.token(&claims).await).await.expect_err(what);
        assert_eq!(reason_of(&refused).as_deref(), Some("invalid_token"), "{what}: {refused}");
    }
}

#[tokio::test]
async fn only_the_regions_own_keys_sign() {
    let held = Held::new().await;
    let parts = &held.world.control_plane.parts;
    let (id, key) = signing_key(&held.world).await;
    let other = parts.tokens.new_key().expect("made");
    let unknown: Local<TokenKeyId> = parts.jurisdiction.mint_random(parts.clock.now());
    for (what, id, key) in [("another key under its name", id, &other), ("an unknown name", unknown, &key)] {
        let token = parts.tokens.sign(*id.get(), key, &held.claims).expect("signed");
        let refused = held.call(token.expose_secret()).await.expect_err(what);
        assert_eq!(reason_of(&refused).as_deref(), Some("invalid_token"), "{what}: {refused}");
    }
}

/// What a cache keyed on a part of the token would give away.
#[tokio::test]
async fn a_token_that_was_just_accepted_lends_nothing_to_one_that_begins_or_ends_alike() {
    let held = Held::new().await;
    let token = held.world.token(&held.secret).await;
    held.call(&token).await.expect("served");
    let (message, signature) = token.rsplit_once('.').expect("parts");
    let (header, claims) = message.split_once('.').expect("parts");
    let other = held.token(&Claims { role: OrganizationRole::Owner, ..held.claims.clone() }).await;
    let (other_message, other_signature) = other.rsplit_once('.').expect("parts");
    let (_, other_claims) = other_message.split_once('.').expect("parts");
    for forged in [
        format!("{message}.{other_signature}"),
        format!("{header}.{other_claims}.{signature}"),
        format!("{message}."),
        format!("{message}.{}", "A".repeat(signature.len())),
        format!("{header}.{claims}.{signature}.{signature}"),
    ] {
        let refused = held.call(&forged).await.expect_err("forged");
        assert_eq!(reason_of(&refused).as_deref(), Some("invalid_token"), "{refused}");
    }
    held.call(&token).await.expect("still served");
}

#[tokio::test]
async fn keys_follow_each_other_and_the_old_one_verifies_for_as_long_as_its_tokens_live() {
    let held = Held::new().await;
    let parts = &held.world.control_plane.parts;
    let keys = TokenKeys {
        store: Arc::clone(&parts.store),
        vault: Arc::clone(&parts.vault),
        signer: Arc::clone(&parts.tokens),
        clock: Arc::clone(&parts.clock),
        jurisdiction: parts.jurisdiction.clone(),
        actor: "test".to_owned(),
    };
    let count = async || parts.store.token_key_list().await.expect("read").len();
    keys.tend().await.expect("tended");
    assert_eq!(count().await, 1, "it is young");
    held.world.clock.advance(Duration::from_secs(30 * 24 * 3600 - 10));
    let old = held.world.token(&held.secret).await;
    held.world.clock.advance(Duration::from_secs(10));
    keys.tend().await.expect("tended");
    keys.tend().await.expect("tended");
    assert_eq!(count().await, 2, "a second one, and no third");
    held.call(&old).await.expect("the first one's tokens are good");
    let new = held.world.token(&held.secret).await;
    assert_ne!(old.split('.').next(), new.split('.').next(), "the second one signs");
    held.call(&new).await.expect("served");
    held.world.clock.advance(OVERLAP);
    keys.tend().await.expect("tended");
    assert_eq!(count().await, 1, "nothing good can be signed with the first one any more");
    let actions: Vec<_> = held.world.records("").await.into_iter().map(|record| record.action).collect();
    let of_keys: Vec<_> = actions.iter().filter(|action| action.starts_with("token_key.")).collect();
    assert_eq!(of_keys, ["token_key.create", "token_key.create", "token_key.destroy"]);
    held.world.token(&held.secret).await;
}
