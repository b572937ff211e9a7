//! Configuration and discovery over real connections.

use std::sync::Arc;

use bailiwick_core::{
    control_plane::{ControlPlane, Parts},
    records::Page,
};
use bailiwick_domain::spiffe::ProcessRole;
use bailiwick_proto::{
    config::v1::{ResourceKind, resource},
    digest::Shards,
    status::reason_of,
    worker::v1::{
        Acknowledgement, Batch, Bookmark, Hello, SnapshotPayload, SnapshotRequest, SubscribeRequest,
        SubscribeResponse, WatchRequest, WatchResponse,
        configuration_service_client::ConfigurationServiceClient,
        discovery_service_client::DiscoveryServiceClient, operation::Operation, subscribe_request,
        subscribe_response::Message,
    },
};
use bailiwick_runtime::identity::Identity;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::world::{PATIENCE, World, eventually};

struct Subscriber {
    up: mpsc::Sender<SubscribeRequest>,
    down: Streaming<SubscribeResponse>,
}

struct Snapshot {
    epoch: String,
    revision: u64,
    resources: Vec<bailiwick_proto::config::v1::Resource>,
}

fn hello(snapshot: Option<&Snapshot>) -> Hello {
    let mut digests = Shards::default();
    for resource in snapshot.into_iter().flat_map(|snapshot| &snapshot.resources) {
        let id = bailiwick_proto::convert::resource_id(resource).expect("content");
        let digest = bailiwick_proto::digest::resource_digest(resource);
        digests.toggle(bailiwick_proto::digest::shard_of(id.kind(), &id.id), &digest);
    }
    Hello {
        region: "eu-central-1".into(),
        build: "0.1.0".into(),
        protocol_min: 1,
        protocol_max: 1,
        epoch: snapshot.map(|snapshot| snapshot.epoch.clone()).unwrap_or_default(),
        revision: snapshot.map_or(0, |snapshot| snapshot.revision),
        shard_digests: snapshot.map(|_| digests.to_wire()).unwrap_or_default(),
        advertise_address: "127.0.0.1:7431".into(),
        boot_id: "01JD0W6KQ4V6J5T6T9N2X8Y3ZB".into(),
    }
}

async fn subscribe(world: &World, identity: &Identity, hello: Hello) -> Result<Subscriber, Status> {
    let (up, messages) = mpsc::channel(8);
    let hello = SubscribeRequest { message: Some(subscribe_request::Message::Hello(hello)) };
    up.send(hello).await.expect("open");
    let mut client = ConfigurationServiceClient::new(world.channel(identity));
    let down = client.subscribe(ReceiverStream::new(messages)).await?.into_inner();
    Ok(Subscriber { up, down })
}

async fn snapshot(world: &World, identity: &Identity) -> Snapshot {
    let mut client = ConfigurationServiceClient::new(world.channel(identity));
    let request = SnapshotRequest { region: "eu-central-1".into() };
    let mut chunks = client.snapshot(request).await.expect("open").into_inner();
    let mut snapshot = Snapshot { epoch: String::new(), revision: 0, resources: Vec::new() };
    while let Some(chunk) = chunks.message().await.expect("a chunk") {
        let raw = zstd::bulk::decompress(&chunk.payload, 16 << 20).expect("unpacks");
        snapshot.resources.extend(SnapshotPayload::decode(&*raw).expect("decodes").resources);
        (snapshot.epoch, snapshot.revision) = (chunk.epoch, chunk.revision);
    }
    snapshot
}

impl Subscriber {
    async fn next(&mut self) -> Result<Message, Status> {
        let next = tokio::time::timeout(PATIENCE, self.down.message()).await.expect("in time")?;
        next.and_then(|next| next.message).ok_or_else(|| Status::ok("over"))
    }

    async fn bookmark(&mut self) -> Bookmark {
        loop {
            if let Message::Bookmark(bookmark) = self.next().await.expect("open") {
                return bookmark;
            }
        }
    }

    async fn batch(&mut self) -> Batch {
        loop {
            if let Message::Batch(batch) = self.next().await.expect("open") {
                return batch;
            }
        }
    }

    async fn acknowledge(&self, revision: u64) {
        let said = subscribe_request::Message::Acknowledgement(Acknowledgement { revision });
        self.up.send(SubscribeRequest { message: Some(said) }).await.expect("open");
    }
}

/// A worker that holds everything.
async fn synced(world: &World, identity: &Identity) -> (Subscriber, Snapshot) {
    let snapshot = snapshot(world, identity).await;
    let mut subscriber = subscribe(world, identity, hello(Some(&snapshot))).await.expect("welcome");
    let bookmark = subscriber.bookmark().await;
    subscriber.acknowledge(bookmark.revision).await;
    (subscriber, snapshot)
}

#[tokio::test]
async fn r12_a_revoked_key_is_gone_in_the_batch_right_after_its_commit() {
    let world = World::new("eu-central-1").await;
    let key = world.key(world.organization().await).await;
    let identity = world.join(ProcessRole::Worker, "worker-1").await;
    let (mut subscriber, _) = synced(&world, &identity).await;

    let revoked = std::time::Instant::now();
    let (_, revision) =
        world.control_plane.key_revoke(&world.operator(), key.key.row.id).await.expect("revoked");
    let batch = subscriber.batch().await;
    assert!(revoked.elapsed() < std::time::Duration::from_millis(500), "{:?}", revoked.elapsed());
    assert_eq!((batch.from, batch.to), (revision.0 - 1, revision.0));
    let [operation] = batch.operations.as_slice() else { panic!("one operation: {batch:?}") };
    let Some(Operation::Gone(id)) = &operation.operation else { panic!("gone: {batch:?}") };
    assert_eq!((id.kind(), id.id.as_str()), (ResourceKind::ApiKey, key.key.row.id.to_string().as_str()));
}

#[tokio::test]
async fn a_new_worker_takes_a_snapshot_and_one_that_returns_resumes_without_a_gap() {
    let world = World::new("eu-central-1").await;
    let organization = world.organization().await;
    world.key(organization).await;
    let identity = world.join(ProcessRole::Worker, "worker-1").await;
    let mut newcomer = subscribe(&world, &identity, hello(None)).await.expect("welcome");
    let Message::Welcome(welcome) = newcomer.next().await.expect("open") else { panic!("welcome first") };
    assert!(welcome.take_snapshot);

    let held = snapshot(&world, &identity).await;
    assert_eq!(held.resources.len(), 3, "settings, organization, key");
    let settings = held.resources.iter().find_map(|resource| match &resource.kind {
        Some(resource::Kind::RegionSettings(settings)) => Some(settings),
        _ => None,
    });
    assert_eq!(settings.expect("there").pepper.len(), 32);

    world.key(organization).await;
    let newest = world.key(organization).await.revision;
    let mut returned = subscribe(&world, &identity, hello(Some(&held))).await.expect("welcome");
    let mut at = held.revision;
    while at < newest.0 {
        let batch = returned.batch().await;
        assert_eq!(batch.from, at);
        at = batch.to;
    }
    assert_eq!(returned.bookmark().await.revision, newest.0);

    // After a restart of the control plane its memory begins anew; what changed is found in the store.
    let world = world.restart("eu-central-1").await;
    let mut returned = subscribe(&world, &identity, hello(Some(&held))).await.expect("welcome");
    let Message::Welcome(welcome) = returned.next().await.expect("open") else { panic!("welcome first") };
    assert_eq!((welcome.epoch.as_str(), welcome.revision), (held.epoch.as_str(), newest.0));
}

#[tokio::test]
async fn a_hello_that_breaks_the_contract_is_refused() {
    let world = World::new("eu-central-1").await;
    let identity = world.join(ProcessRole::Worker, "worker-1").await;
    let good = hello(None);
    for (bad, code, reason) in [
        (Hello { region: "us-west-1".into(), ..good.clone() }, Code::FailedPrecondition, "wrong_region"),
        (Hello { region: "mars".into(), ..good.clone() }, Code::InvalidArgument, "invalid_argument"),
        (
            Hello { protocol_min: 2, protocol_max: 3, ..good.clone() },
            Code::FailedPrecondition,
            "unsupported_protocol",
        ),
        (Hello { build: "x".repeat(65), ..good.clone() }, Code::InvalidArgument, "invalid_argument"),
        (
            Hello { advertise_address: String::new(), ..good.clone() },
            Code::InvalidArgument,
            "invalid_argument",
        ),
        (
            Hello { epoch: "x".into(), shard_digests: vec![vec![1].into()], ..good.clone() },
            Code::InvalidArgument,
            "invalid_argument",
        ),
    ] {
        let status = subscribe(&world, &identity, bad).await.err().expect("refused");
        assert_eq!((status.code(), reason_of(&status).as_deref()), (code, Some(reason)));
    }
}

async fn watch(world: &World, identity: &Identity) -> Streaming<WatchResponse> {
    let mut client = DiscoveryServiceClient::new(world.channel(identity));
    client
        .watch(WatchRequest { region: "eu-central-1".into(), build: "0".into() })
        .await
        .expect("open")
        .into_inner()
}

#[tokio::test]
async fn a_router_sees_a_worker_once_it_is_ready_and_not_when_it_is_gone() {
    let world = World::new("eu-central-1").await;
    let router = world.join(ProcessRole::Router, "router-1").await;
    let mut sets = watch(&world, &router).await;
    assert!(sets.message().await.expect("open").expect("a set").workers.is_empty());

    let identity = world.join(ProcessRole::Worker, "worker-1").await;
    let (subscriber, _) = synced(&world, &identity).await;
    let mut seen = Vec::new();
    while seen.is_empty() {
        seen = sets.message().await.expect("open").expect("a set").workers;
    }
    assert_eq!((seen[0].name.as_str(), seen[0].address.as_str()), ("worker-1", "127.0.0.1:7431"));
    drop(subscriber);
    while !sets.message().await.expect("open").expect("a set").workers.is_empty() {}
}

#[tokio::test]
async fn after_a_restart_a_router_is_told_nothing_until_the_workers_are_back() {
    let world = World::new("eu-central-1").await;
    let router = world.join(ProcessRole::Router, "router-1").await;
    let identity = world.join(ProcessRole::Worker, "worker-1").await;
    let world = world.restart("eu-central-1").await;
    let mut sets = watch(&world, &router).await;
    let (_subscriber, _) = synced(&world, &identity).await;
    let first = sets.message().await.expect("open").expect("a set");
    assert_eq!(first.workers.len(), 1, "never an empty set while workers serve");
}

#[tokio::test]
async fn r3_a_revoked_workers_streams_end_and_no_handshake_of_it_succeeds() {
    let world = World::new("eu-central-1").await;
    let identity = world.join(ProcessRole::Worker, "worker-1").await;
    let (mut subscriber, held) = synced(&world, &identity).await;
    let parts = &world.control_plane.parts;
    let worker =
        parts.store.worker_list(&Page { size: 10, token: None }).await.expect("listed").rows.remove(0);
    world.control_plane.worker_revoke(&world.operator(), worker.id).await.expect("revoked");
    while subscriber.next().await.is_ok() {}
    // At first by its name, which is no member's any more; then by its certificate.
    eventually("the worker has heard why", async || {
        subscribe(&world, &identity, hello(Some(&held))).await.err().expect("refused");
        identity.is_disowned()
    })
    .await;

    // The same after a restart: what is revoked is known before anybody is let in.
    let world = world.restart("eu-central-1").await;
    subscribe(&world, &identity, hello(Some(&held))).await.err().expect("refused");
    let codes = world.refuses_in_the_handshake(world.workers, &identity).await;
    assert!(codes, "its certificate is refused, not only its name");

    // Who joins again under the name is somebody else.
    let successor = world.join(ProcessRole::Worker, "worker-1").await;
    eventually("the successor is let in", async || subscribe(&world, &successor, hello(None)).await.is_ok())
        .await;
    assert!(world.refuses_in_the_handshake(world.workers, &identity).await);
}

#[tokio::test]
async fn r3_a_revoked_operator_is_shut_out_until_its_certificate_is_issued_anew() {
    let world = World::new("eu-central-1").await;
    let alice = world.certify(ProcessRole::Operator, "alice");
    let bob = world.certify(ProcessRole::Operator, "bob");
    assert!(!world.refuses_in_the_handshake(world.admin, &alice).await);
    let operator = world.operator();
    world.control_plane.certificate_revoke(&operator, ProcessRole::Operator, "alice").await.expect("revoked");
    eventually("alice is shut out", async || world.refuses_in_the_handshake(world.admin, &alice).await).await;
    assert!(!world.refuses_in_the_handshake(world.admin, &bob).await);
    for role in [ProcessRole::Worker, ProcessRole::Router, ProcessRole::ControlPlane] {
        let refused = world.control_plane.certificate_revoke(&operator, role, "control-plane").await;
        assert!(refused.is_err(), "{role}: or one command could end the region");
    }
}

#[tokio::test]
async fn a_revocation_that_another_replica_did_ends_the_stream_too() {
    let world = World::new("eu-central-1").await;
    let identity = world.join(ProcessRole::Worker, "worker-1").await;
    let (mut subscriber, _) = synced(&world, &identity).await;
    // Past this process's memory: only the store knows.
    let (parts, page) = (&world.control_plane.parts, Page { size: 10, token: None });
    let worker = parts.store.worker_list(&page).await.expect("listed").rows.remove(0);
    let elsewhere =
        ControlPlane::new(Parts { fleet: Arc::default(), trust: Arc::default(), ..world.parts() });
    elsewhere.worker_revoke(&world.operator(), worker.id).await.expect("revoked");
    while subscriber.next().await.is_ok() {}
    assert!(world.refuses_in_the_handshake(world.workers, &identity).await);
}

#[tokio::test]
async fn a_stopping_control_plane_says_so_to_its_subscribers() {
    let world = World::new("eu-central-1").await;
    let identity = world.join(ProcessRole::Worker, "worker-1").await;
    let (mut subscriber, _) = synced(&world, &identity).await;
    world.drain.cancel();
    loop {
        match subscriber.next().await {
            Ok(Message::Drain(drain)) => {
                assert!(drain.jitter_millis > 0);
                break;
            }
            Ok(_) => {}
            Err(status) => panic!("ended without a word: {status:?}"),
        }
    }
}
