//! What leads a worker on from where it stands.

use bailiwick_proto::config::v1::ResourceKind;
use proptest::prelude::*;

use super::{
    super::{
        Log,
        history::{MAX_STEP_BYTES, MAX_STEPS},
        snapshot::Snapshot,
        state::{Resume, State},
    },
    world::{EPOCH, Worker, change, gone, key, organization, put, state},
};
use bailiwick_core::records::Revision;

fn steps(state: &State, worker: &mut Worker) -> bool {
    match state.resume(&worker.held()) {
        Resume::TakeSnapshot => false,
        Resume::Steps(steps, repairs) => {
            for step in steps {
                worker.apply(step.to_wire(Revision(worker.revision)));
            }
            for (shard, entries) in repairs {
                worker.repair(shard, entries.values().map(|entry| entry.to_wire()).collect());
            }
            true
        }
    }
}

#[test]
fn r12_a_revocation_is_in_the_next_step() {
    let mut state = state(3);
    let mut worker = Worker::with(&state);
    assert!(state.apply(change(10, 11, vec![gone(ResourceKind::ApiKey, "key_1")])));
    assert!(steps(&state, &mut worker));
    assert!(!worker.holds(ResourceKind::ApiKey, "key_1"));
    assert!(worker.holds(ResourceKind::ApiKey, "key_2"));
    assert_eq!(worker.digests, *state.resources.digests());
}

#[test]
fn a_worker_that_stands_between_the_ends_of_a_step_takes_it_whole() {
    let mut state = state(3);
    let mut worker = Worker::with(&state);
    state.apply(change(10, 14, vec![gone(ResourceKind::ApiKey, "key_1"), put(key("key_9", "org_a"))]));
    // It was told of revision 12 by a replica that read earlier.
    worker.remove(ResourceKind::ApiKey.into(), "key_1");
    worker.revision = 12;
    assert!(steps(&state, &mut worker));
    assert_eq!((worker.revision, &worker.digests), (14, state.resources.digests()));
}

#[test]
fn a_change_that_does_not_follow_is_left_out() {
    let log = Log::new(state(1));
    for (from, to) in [(9, 11), (11, 12), (10, 10), (10, 9)] {
        log.apply(change(from, to, vec![gone(ResourceKind::ApiKey, "key_0")]));
    }
    assert_eq!(log.revision(), Revision(10));
    assert_eq!(log.read(|state| state.resources.len()), 2);
}

#[test]
fn another_epoch_and_a_forgotten_past_need_a_snapshot() {
    let mut state = state(1);
    let mut elsewhere = Worker::with(&state);
    elsewhere.epoch = "01JD0W6KQ4V6J5T6T9N2X8Y3ZZ".into();
    assert!(!steps(&state, &mut elsewhere));

    let mut early = Worker::with(&state);
    let mut late = Worker::with(&state);
    let last = 10 + u64::try_from(MAX_STEPS).expect("small") + 1;
    for revision in 10..last {
        state.apply(change(revision, revision + 1, vec![put(key("key_0", &format!("org_{revision}")))]));
    }
    assert!(!steps(&state, &mut early), "the first step has left the history");
    late.revision = 11;
    assert!(steps(&state, &mut late));
    let mut ahead = Worker::with(&state);
    ahead.revision += 1;
    assert!(!steps(&state, &mut ahead));
}

#[test]
fn drift_is_repaired_shard_by_shard_and_wide_drift_by_a_snapshot() {
    let mut state = state(600);
    let mut worker = Worker::with(&state);
    worker.remove(ResourceKind::ApiKey.into(), "key_17");
    worker.put(key("key_of_nobody", "org_b"));
    worker.put(organization("org_b"));
    state.apply(change(10, 11, vec![gone(ResourceKind::ApiKey, "key_3")]));
    assert!(steps(&state, &mut worker));
    assert_eq!(worker.digests, *state.resources.digests());
    assert!(worker.holds(ResourceKind::ApiKey, "key_17"));
    assert!(!worker.holds(ResourceKind::Organization, "org_b"));

    (0..300).for_each(|n| worker.remove(ResourceKind::ApiKey.into(), &format!("key_{n}")));
    assert!(!steps(&state, &mut worker));
}

#[test]
fn what_goes_with_an_organization_goes_with_it() {
    let mut state = state(5);
    let mut worker = Worker::with(&state);
    state.apply(change(10, 11, vec![gone(ResourceKind::Organization, "org_a")]));
    assert!(steps(&state, &mut worker));
    assert!(worker.resources.is_empty());
    assert_eq!(state.resources.len(), 0);
}

#[test]
fn a_step_too_large_for_a_message_sends_those_behind_it_to_a_snapshot() {
    let mut state = state(1);
    let mut worker = Worker::with(&state);
    let long = "m".repeat(1000);
    let operations = (0..=MAX_STEP_BYTES / 1000).map(|n| put(key(&format!("key_{n}"), &long))).collect();
    state.apply(change(10, 11, operations));
    assert!(!steps(&state, &mut worker));
    let mut current = Worker::with(&state);
    state.apply(change(11, 12, vec![gone(ResourceKind::ApiKey, "key_0")]));
    assert!(steps(&state, &mut current), "the log goes on from there");
}

#[test]
fn a_snapshot_holds_everything_at_one_revision_while_the_log_goes_on() {
    let mut state = state(80_000);
    let snapshot = Snapshot::of(&state);
    state.apply(change(10, 11, vec![gone(ResourceKind::ApiKey, "key_5")]));

    let mut chunks = Vec::new();
    snapshot
        .pack(|chunk| {
            chunks.push(chunk);
            true
        })
        .expect("packed");
    assert!(chunks.len() > 1);
    let mut worker = Worker { revision: 10, epoch: EPOCH.into(), ..Worker::default() };
    for (index, chunk) in chunks.iter().enumerate() {
        assert_eq!((chunk.index as usize, chunk.revision, chunk.epoch.as_str()), (index, 10, EPOCH));
        assert_eq!(chunk.last, index + 1 == chunks.len());
        assert_eq!(crc32fast::hash(&chunk.payload), chunk.crc32);
        assert!(chunk.payload.len() <= 4 << 20);
        let raw = zstd::bulk::decompress(&chunk.payload, 16 << 20).expect("within the bound");
        let payload: bailiwick_proto::worker::v1::SnapshotPayload =
            prost::Message::decode(&*raw).expect("decodes");
        payload.resources.into_iter().for_each(|resource| worker.put(resource));
    }
    assert!(worker.holds(ResourceKind::ApiKey, "key_5"));
    assert!(steps(&state, &mut worker));
    assert_eq!(worker.digests, *state.resources.digests());
}

#[test]
fn packing_ends_when_nobody_listens() {
    let snapshot = Snapshot::of(&state(100_000));
    let mut sent = 0;
    snapshot
        .pack(|_| {
            sent += 1;
            false
        })
        .expect("packed");
    assert_eq!(sent, 1);
}

#[test]
fn a_secret_is_in_no_debug_output() {
    use bailiwick_proto::config::v1::{Credential, Resource, resource::Kind};
    let credential =
        Credential { id: "cred_a".into(), organization_id: "org_a".into(), secret: "sk-canary".into() };
    let mut state = state(1);
    state.apply(change(10, 11, vec![put(Resource { kind: Some(Kind::Credential(credential)) })]));
    let printed = format!("{state:?}");
    assert!(printed.contains("cred_a"));
    assert!(!printed.contains("canary"));
    assert!(!printed.contains(&format!("{:?}", b"sk-canary".as_slice()).replace(['[', ']'], "")));
}

proptest! {
    /// Whatever was changed, and wherever a worker stood: it ends with exactly what the log holds.
    #[test]
    fn a_worker_that_follows_holds_what_the_log_holds(
        changes in prop::collection::vec(prop::collection::vec((0_u8..20, any::<bool>(), 0_u8..3), 0..4), 1..30),
        leaves in 0_usize..30,
        drift in prop::option::of(0_u8..20),
    ) {
        let mut state = state(4);
        let mut worker = Worker::with(&state);
        for (n, operations) in changes.into_iter().enumerate() {
            let operations = operations.into_iter().map(|(id, there, version)| {
                let id = format!("key_{id}");
                if there { put(key(&id, &format!("org_{version}"))) } else { gone(ResourceKind::ApiKey, &id) }
            });
            let from = state.revision.0;
            prop_assert!(state.apply(change(from, from + 1, operations.collect())));
            if n < leaves {
                prop_assert!(steps(&state, &mut worker));
            }
        }
        if let Some(id) = drift {
            worker.remove(ResourceKind::ApiKey.into(), &format!("key_{id}"));
        }
        prop_assert!(steps(&state, &mut worker));
        prop_assert_eq!(worker.revision, state.revision.0);
        prop_assert_eq!(&worker.digests, state.resources.digests());
        prop_assert_eq!(worker.resources.len(), state.resources.len());
    }
}
