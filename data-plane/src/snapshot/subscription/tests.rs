mod control_plane;

use std::time::{Duration, Instant};

use bailiwick_domain::key::ApiKey;
use bailiwick_proto::{
    config::v1::{Resource, ResourceKind},
    digest::shard_of,
    worker::v1::{Batch, Bookmark, Drain, ShardRepair, subscribe_response::Message},
};
use tokio::task::JoinSet;

use self::control_plane::{FakeControlPlane, Session};
use super::*;
use crate::{
    polling::eventually,
    snapshot::tests::{Tenant, gone, here, of_region, put, settings},
};

struct World {
    control_plane: FakeControlPlane,
    handle: SnapshotHandle,
    ready: watch::Receiver<bool>,
    tenant: Tenant,
    key: ApiKey,
    _subscribing: JoinSet<()>,
}

impl World {
    async fn start() -> Self {
        let control_plane = FakeControlPlane::start().await;
        let handle = SnapshotHandle::default();
        let about =
            About { build: "0.1.0".into(), advertise_address: "127.0.0.1:1".into(), boot_id: "boot".into() };
        let (one, other) = (control_plane.channel(), control_plane.channel());
        let subscriber = Subscriber::new(here(), about, one, other, handle.clone());
        let ready = subscriber.ready();
        let mut subscribing = JoinSet::new();
        subscribing.spawn(subscriber.run());
        let (tenant, key) = (Tenant::new(&here()), ApiKey::generate(here().code()));
        Self { control_plane, handle, ready, tenant, key, _subscribing: subscribing }
    }

    fn resources(&self) -> Vec<Resource> {
        vec![settings("euc1"), self.tenant.organization(false), self.tenant.key(&self.key)]
    }

    /// A worker that holds revision 5 of epoch `one`, and its subscription.
    async fn subscribed() -> (Self, Session) {
        let mut world = Self::start().await;
        let resources = world.resources();
        world.control_plane.snapshot("one", 5, &resources);
        let session = world.control_plane.session().await;
        assert_eq!((session.hello.epoch.as_str(), session.hello.shard_digests.len()), ("", 0));
        session.welcome("one", 5, true);
        let session = world.control_plane.session().await;
        assert_eq!((session.hello.epoch.as_str(), session.hello.revision), ("one", 5));
        assert_eq!(session.hello.region, "eu-central-1");
        session.welcome("one", 5, false);
        session.bookmark(5, &resources);
        world.ready.wait_for(|ready| *ready).await.unwrap();
        (world, session)
    }

    fn serves(&self, key: &ApiKey) -> bool {
        self.handle.load().key(&key.key_id()).is_some()
    }

    fn is_fresh(&self) -> bool {
        self.handle.load().fresh_at(Instant::now())
    }
}

fn batch(from: u64, to: u64, operations: Vec<bailiwick_proto::worker::v1::Operation>) -> Message {
    Message::Batch(Batch { from, to, operations })
}

#[tokio::test]
async fn a_worker_is_ready_at_its_first_bookmark() {
    let mut world = World::start().await;
    let resources = world.resources();
    world.control_plane.snapshot("one", 5, &resources);
    world.control_plane.session().await.welcome("one", 5, true);
    let session = world.control_plane.session().await;
    session.welcome("one", 5, false);
    assert!(world.serves(&world.key) && !*world.ready.borrow() && !world.is_fresh());
    session.bookmark(5, &resources);
    world.ready.wait_for(|ready| *ready).await.unwrap();
    assert!(world.is_fresh());
    eventually(|| session.acknowledged() == Some(5)).await;
}

#[tokio::test]
async fn r12_a_revocation_is_applied_and_acknowledged_at_once() {
    let (world, session) = World::subscribed().await;
    assert!(world.serves(&world.key));
    session.say(batch(5, 6, vec![gone(&world.tenant.key(&world.key))]));
    eventually(|| session.acknowledged() == Some(6)).await;
    assert!(!world.serves(&world.key));
}

#[tokio::test]
async fn r5_a_foreign_resource_is_refused_and_the_stream_goes_on() {
    let (world, session) = World::subscribed().await;
    let stolen = Tenant::new(&of_region("us-east-1")).key(&world.key);
    session.say(batch(5, 6, vec![put(&stolen)]));
    eventually(|| session.refusals().len() == 1).await;
    let refusal = session.refusals().remove(0);
    assert_eq!(refusal.revision, 6);
    assert_eq!(refusal.resource.unwrap().id, world.key.key_id().to_string());
    assert!(refusal.reason.contains("use1"), "{}", refusal.reason);
    let entry = world.handle.load().key(&world.key.key_id()).unwrap();
    assert_eq!(entry.organization, world.tenant.organization, "the last good state stays");
    // What was refused is not taken for drift.
    session.bookmark(6, &[settings("euc1"), world.tenant.organization(false), stolen]);
    session.say(batch(6, 7, vec![gone(&world.tenant.key(&world.key))]));
    eventually(|| session.acknowledged() == Some(7)).await;
    assert!(!world.serves(&world.key), "a removal is never refused");
}

#[tokio::test]
async fn a_gap_is_noticed_and_the_worker_resumes_from_what_it_has() {
    let (mut world, session) = World::subscribed().await;
    session.say(batch(6, 7, vec![gone(&world.tenant.key(&world.key))]));
    let again = world.control_plane.session().await;
    assert!(session.is_over());
    assert_eq!((again.hello.epoch.as_str(), again.hello.revision), ("one", 5));
    assert!(world.serves(&world.key), "it serves on meanwhile");
}

#[tokio::test]
async fn a_bookmark_that_is_ahead_renews_no_lease() {
    let mut world = World::start().await;
    let resources = world.resources();
    world.control_plane.snapshot("one", 5, &resources);
    world.control_plane.session().await.welcome("one", 5, true);
    let session = world.control_plane.session().await;
    session.welcome("one", 6, false);
    session.bookmark(6, &resources);
    let _again = world.control_plane.session().await;
    assert!(!world.is_fresh() && !*world.ready.borrow());
}

#[tokio::test]
async fn r12_drift_is_repaired_shard_by_shard() {
    let (mut world, session) = World::subscribed().await;
    // The control plane has no such key any more, and the worker has not heard of it.
    let rest = [settings("euc1"), world.tenant.organization(false)];
    session.bookmark(5, &rest);
    let again = world.control_plane.session().await;
    let shard = shard_of(ResourceKind::ApiKey, &world.key.key_id().to_string());
    let theirs = crate::snapshot::tests::digests(&rest);
    let ours = bailiwick_proto::digest::Shards::from_wire(&again.hello.shard_digests).unwrap();
    assert_eq!(ours.differing(&theirs), [shard]);
    again.welcome("one", 5, false);
    let resources = rest.iter().filter(|resource| {
        let id = bailiwick_proto::convert::resource_id(resource).unwrap();
        shard_of(id.kind(), &id.id) == shard
    });
    let resources = resources.cloned().collect();
    again.say(Message::ShardRepair(ShardRepair { revision: 5, shard: shard.into(), resources }));
    again.bookmark(5, &rest);
    eventually(|| again.acknowledged() == Some(5)).await;
    assert!(!world.serves(&world.key));
    assert!(!again.is_over());
}

#[tokio::test]
async fn drift_that_no_repair_ends_asks_for_everything() {
    let (mut world, session) = World::subscribed().await;
    let rest = [settings("euc1")];
    session.bookmark(5, &rest);
    for _ in 1..MAX_DRIFTS {
        let again = world.control_plane.session().await;
        again.welcome("one", 5, false);
        again.bookmark(5, &rest);
    }
    let last = world.control_plane.session().await;
    assert_eq!((last.hello.epoch.as_str(), last.hello.revision), ("", 0));
    world.control_plane.snapshot("one", 5, &rest);
    last.welcome("one", 5, true);
    eventually(|| !world.serves(&world.key)).await;
}

#[tokio::test]
async fn r12_an_older_control_plane_rolls_nothing_back() {
    let (mut world, session) = World::subscribed().await;
    session.say(batch(5, 6, vec![gone(&world.tenant.key(&world.key))]));
    eventually(|| session.acknowledged() == Some(6)).await;
    session.end();

    // A replica that is behind offers to go on from 5, and then a snapshot of 5.
    let behind = world.control_plane.session().await;
    behind.welcome("one", 5, false);
    let behind = world.control_plane.session().await;
    behind.welcome("one", 5, true);
    let lying = world.control_plane.session().await;
    lying.welcome("one", 7, true);
    let last = world.control_plane.session().await;
    assert_eq!((last.hello.epoch.as_str(), last.hello.revision), ("one", 6));
    assert!(!world.serves(&world.key));
}

#[tokio::test]
async fn a_new_epoch_is_taken_whole() {
    let (mut world, session) = World::subscribed().await;
    session.end();
    let again = world.control_plane.session().await;
    let other = ApiKey::generate(here().code());
    world.control_plane.snapshot("two", 2, &[settings("euc1"), world.tenant.key(&other)]);
    again.welcome("two", 2, true);
    let last = world.control_plane.session().await;
    assert_eq!((last.hello.epoch.as_str(), last.hello.revision), ("two", 2));
    assert!(world.serves(&other) && !world.serves(&world.key));
}

#[tokio::test]
async fn a_snapshot_tells_what_of_it_was_refused() {
    let mut world = World::start().await;
    let foreign = Tenant::new(&of_region("us-west-1")).organization(false);
    world.control_plane.snapshot("one", 5, &[settings("euc1"), foreign]);
    world.control_plane.session().await.welcome("one", 5, true);
    let session = world.control_plane.session().await;
    session.welcome("one", 5, false);
    eventually(|| session.refusals().len() == 1).await;
}

#[tokio::test]
async fn a_drained_worker_comes_back_after_the_pause() {
    let (mut world, session) = World::subscribed().await;
    let asked = Instant::now();
    session.say(Message::Drain(Drain { after_millis: 150, jitter_millis: 1 }));
    let again = world.control_plane.session().await;
    assert!(asked.elapsed() >= Duration::from_millis(150));
    assert_eq!(again.hello.revision, 5);
    assert!(world.is_fresh(), "the lease goes on");
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_session_and_nothing_else() {
    let (mut world, session) = World::subscribed().await;
    let unfit = Bookmark { revision: 5, lease_millis: 1, shard_digests: vec![vec![0; 16].into()] };
    session.say(Message::Bookmark(unfit));
    let session = world.control_plane.session().await;
    session.bookmark(5, &world.resources());
    let session = world.control_plane.session().await;
    session.welcome("one", 5, false);
    session.say(batch(5, 4, Vec::new()));
    let session = world.control_plane.session().await;
    session.welcome("other", 5, false);
    let session = world.control_plane.session().await;
    session.welcome("one", 5, false);
    session.bookmark(5, &world.resources());
    eventually(|| session.acknowledged() == Some(5)).await;
    assert!(world.serves(&world.key));
}
