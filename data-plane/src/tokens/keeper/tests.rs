use bailiwick_domain::{
    id::OrganizationId,
    jurisdiction::Jurisdiction,
    provider_secret::ProviderSecret,
    region::Regions,
    time::{SystemClock, Timestamp},
};
use bailiwick_runtime::{configuration::ResolverSection, outbound::Resolver};

use super::*;
use crate::{snapshot::SnapshotHandle, tokens::Grant, upstream::Dialler};

fn keeper() -> Keeper {
    let (_wanted, heard) = mpsc::channel(1);
    // Nobody is asked: without a policy no issuer is admitted.
    let nothing = Duration::ZERO;
    let resolver =
        ResolverSection { nameservers: Vec::new(), timeout: nothing, min_ttl: nothing, max_ttl: nothing };
    let dialler = Dialler::new(Resolver::new(&resolver).unwrap(), &[], true).unwrap();
    Keeper::new(heard, Exchange::new(dialler, SnapshotHandle::default(), Arc::new(SystemClock)))
}

fn here() -> Jurisdiction {
    Jurisdiction::of(Regions::builtin().by_name_str("eu-central-1").unwrap())
}

fn organization() -> OrganizationId {
    here().mint_random(Timestamp::from_micros(0)).into_inner()
}

fn secret(organization: OrganizationId) -> Arc<Exchanged> {
    let text = r#"{"tenant_id": "acme.test", "client_id": "c1", "client_secret": "s"}"#;
    let ProviderSecret::Entra(client) = ProviderSecret::parse(text).unwrap() else { panic!("a client") };
    let id = here().mint_random(Timestamp::from_micros(0)).into_inner();
    Arc::new(Exchanged::new(id, organization, Grant::Entra(client)))
}

#[tokio::test]
async fn one_organizations_issuers_leave_room_for_the_others() {
    let (mut keeper, mut running) = (keeper(), JoinSet::new());
    let (one, other) = (organization(), organization());
    keeper.waiting.extend((0..2 * MOST_AT_ONCE).map(|_| secret(one)));
    keeper.waiting.push_back(secret(other));
    keeper.begin(&mut running);
    let of = |organization| {
        keeper.running.values().filter(|(secret, _)| secret.organization == organization).count()
    };
    assert_eq!((of(one), of(other)), (MOST_OF_ONE, 1));
    assert_eq!(keeper.waiting.len(), 2 * MOST_AT_ONCE - MOST_OF_ONE);
}

#[tokio::test]
async fn an_exchange_that_ends_without_an_outcome_is_told_and_tried_again() {
    let (mut keeper, mut running) = (keeper(), JoinSet::new());
    let secret = secret(organization());
    secret.asked.store(true, Ordering::Release);
    keeper.waiting.push_back(Arc::clone(&secret));
    keeper.begin(&mut running);
    running.abort_all();
    keeper.ended(running.join_next_with_id().await.expect("it ends"));
    assert_eq!(secret.trouble(Instant::now()), Some(NoToken::Unavailable));
    assert!(!secret.asked.load(Ordering::Acquire), "the next call may ask");
    assert_eq!((keeper.running.len(), keeper.due.len()), (0, 1));
}
