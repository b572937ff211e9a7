use bailiwick_domain::key::ApiKey;
use bailiwick_proto::config::v1::Resource;

use super::*;
use crate::snapshot::tests::{Tenant, digests, here};

fn chunk(index: u32, last: bool, resources: &[Resource]) -> SnapshotChunk {
    packed(index, last, &SnapshotPayload { resources: resources.to_vec() }.encode_to_vec())
}

fn packed(index: u32, last: bool, raw: &[u8]) -> SnapshotChunk {
    let payload = zstd::bulk::compress(raw, 1).unwrap();
    let crc32 = crc32fast::hash(&payload);
    SnapshotChunk { epoch: "one".into(), revision: 5, index, last, payload: payload.into(), crc32 }
}

fn keys(count: usize) -> Vec<Resource> {
    let tenant = Tenant::new(&here());
    (0..count).map(|_| tenant.key(&ApiKey::generate(here().code()))).collect()
}

#[test]
fn chunks_make_a_snapshot() {
    let keys = keys(10);
    let mut transfer = Transfer::new(here(), &Snapshot::default());
    transfer.add(&chunk(0, false, &keys[..4])).unwrap();
    assert!(!transfer.is_complete());
    transfer.add(&chunk(1, false, &keys[4..])).unwrap();
    transfer.add(&chunk(2, true, &[])).unwrap();
    assert!(transfer.add(&chunk(3, true, &[])).is_err());
    let (snapshot, refused) = transfer.finish().unwrap();
    assert_eq!(refused, []);
    assert_eq!((snapshot.revision(), &*snapshot.epoch), (5, "one"));
    assert_eq!(*snapshot.shards(), digests(&keys));
}

#[test]
fn what_breaks_the_contract_is_no_snapshot() {
    let keys = keys(3);
    let good = chunk(0, false, &keys);
    let with = |change: fn(&mut SnapshotChunk)| {
        let mut chunk = good.clone();
        change(&mut chunk);
        chunk
    };
    let bad = [
        with(|chunk| chunk.index = 1),
        with(|chunk| chunk.crc32 ^= 1),
        with(|chunk| chunk.epoch.clear()),
        with(|chunk| chunk.epoch = "x".repeat(65)),
        with(|chunk| chunk.payload = vec![0; MAX_PACKED_BYTES + 1].into()),
        // A small chunk that would unpack to more than is allowed.
        packed(0, true, &vec![0; MAX_UNPACKED_BYTES + 1]),
        packed(0, true, b"\x0a\xff no protobuf"),
    ];
    for chunk in bad {
        let mut transfer = Transfer::new(here(), &Snapshot::default());
        assert!(matches!(transfer.add(&chunk), Err(TransferError::Chunk { .. })), "{chunk:?}");
    }
    let mut transfer = Transfer::new(here(), &Snapshot::default());
    transfer.add(&good).unwrap();
    assert!(transfer.add(&chunk(2, true, &[])).is_err(), "a gap");
    assert!(transfer.add(&SnapshotChunk { revision: 6, ..chunk(1, true, &[]) }).is_err(), "another revision");
    assert!(matches!(transfer.finish(), Err(TransferError::CutShort { chunks: 1 })));
}

#[test]
fn r12_an_older_snapshot_of_the_same_epoch_is_refused() {
    let held = Snapshot::default().aside("one", 6);
    let mut transfer = Transfer::new(here(), &held);
    let refused = transfer.add(&chunk(0, true, &[]));
    assert!(matches!(refused, Err(TransferError::Older { offered: 5, held: 6 })), "{refused:?}");
    // In a new epoch, which a restored store begins, the control plane's word counts.
    let mut transfer = Transfer::new(here(), &Snapshot::default().aside("zero", 6));
    transfer.add(&chunk(0, true, &[])).unwrap();
    assert_eq!(transfer.finish().unwrap().0.revision(), 5);
}
