//! A change of the region's root, with real processes' tasks on the other side.

use std::sync::Arc;

use bailiwick_core::records::AuthorityStage;
use bailiwick_domain::{
    spiffe::ProcessRole,
    time::{Clock, SystemClock},
};
use bailiwick_runtime::{enrollment, identity::Identity, trust};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::world::{World, eventually};

/// What keeps a process a member.
fn maintain(world: &World, identity: &Identity, tasks: &mut JoinSet<()>) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let stop = CancellationToken::new();
    let sources = enrollment::Sources { renewal: world.channel(identity), recovery: None };
    tasks.spawn(enrollment::keep_fresh(identity.clone(), sources, Arc::clone(&clock), stop.clone()));
    let channel = world.channel(identity);
    tasks.spawn(trust::follow(identity.clone(), channel, "eu-central-1".to_owned(), clock, stop));
}

async fn stage(world: &World) -> AuthorityStage {
    world.control_plane.authority_status(&world.operator()).await.expect("told").stage
}

#[tokio::test]
async fn a_root_is_changed_with_an_overlap_and_who_keeps_up_notices_nothing() {
    let world = World::new("eu-central-1").await;
    let operator = world.operator();
    let (worker, router) = (
        world.join(ProcessRole::Worker, "worker-1").await,
        world.join(ProcessRole::Router, "router-1").await,
    );
    let absent = world.join(ProcessRole::Worker, "worker-2").await;
    let token = world.token(ProcessRole::Worker, "worker-3", std::time::Duration::from_secs(60)).await;
    let first = worker.root_fingerprint();
    let mut tasks = JoinSet::new();
    maintain(&world, &worker, &mut tasks);
    maintain(&world, &router, &mut tasks);
    eventually("both follow", async || world.control_plane.parts.trust.processes().len() == 2).await;

    world.control_plane.authority_rotate(&operator, false).await.expect("begun");
    eventually("certificates are issued under the second root", async || {
        stage(&world).await == AuthorityStage::Issuing
    })
    .await;
    for identity in [&worker, &router] {
        eventually("it has renewed", async || identity.root_fingerprint() != first).await;
        assert_eq!(identity.trusted_roots().len(), 2);
        assert!(!world.refuses_in_the_handshake(world.workers, identity).await);
    }
    // Who was away trusts the first root alone, and is met with it.
    assert!(!world.refuses_in_the_handshake(world.workers, &absent).await);
    let status = world.control_plane.authority_status(&operator).await.expect("told");
    let left: Vec<_> = status.remaining.iter().map(|held| held.name.as_str()).collect();
    assert_eq!(left, ["worker-2"], "the change waits for it");
    // Begun again, it is the same change.
    world.control_plane.authority_rotate(&operator, false).await.expect("nothing to do");
    // A join token of before is good.
    let (enrolled, key) = world.enroll_under(&token).await.expect("enrolled");
    let late = world.identity(enrolled, key);
    assert_ne!(late.root_fingerprint(), first);

    maintain(&world, &absent, &mut tasks);
    eventually("the first root is retired", async || stage(&world).await == AuthorityStage::Settled).await;
    for identity in [&worker, &router, &absent] {
        eventually("it trusts the new root alone", async || identity.trusted_roots().len() == 1).await;
        assert!(!world.refuses_in_the_handshake(world.workers, identity).await);
    }
    let world = world.restart("eu-central-1").await;
    assert_eq!(stage(&world).await, AuthorityStage::Settled);
    assert!(!world.refuses_in_the_handshake(world.workers, &worker).await, "and so it stays");
}

#[tokio::test]
async fn a_change_goes_on_after_a_restart_and_force_shuts_out_who_did_not_keep_up() {
    let world = World::new("eu-central-1").await;
    let operator = world.operator();
    let sleeper = world.join(ProcessRole::Worker, "worker-1").await;
    let mut tasks = JoinSet::new();
    // It follows, and does not renew: certificates of the first root stay in use.
    let (clock, stop) = (Arc::new(SystemClock), CancellationToken::new());
    let channel = world.channel(&sleeper);
    tasks.spawn(trust::follow(sleeper.clone(), channel, "eu-central-1".to_owned(), clock, stop));
    eventually("it follows", async || world.control_plane.parts.trust.processes().len() == 1).await;
    world.control_plane.authority_rotate(&operator, false).await.expect("begun");
    eventually("the second root issues", async || stage(&world).await == AuthorityStage::Issuing).await;

    let world = world.restart("eu-central-1").await;
    assert_eq!(stage(&world).await, AuthorityStage::Issuing, "where it was");
    assert!(!world.refuses_in_the_handshake(world.workers, &sleeper).await);
    let stored = world.control_plane.parts.store.region_secret_fetch("ca_key").await.expect("read");
    assert!(stored.is_some());
    eventually("forced", async || {
        let status = world.control_plane.authority_rotate(&operator, true).await.expect("told");
        status.stage == AuthorityStage::Settled
    })
    .await;
    eventually("it is shut out", async || world.refuses_in_the_handshake(world.workers, &sleeper).await)
        .await;
    let stored = world.control_plane.parts.store.region_secret_fetch("ca_key").await.expect("read");
    assert!(stored.is_none(), "the first root's key is destroyed");
}
