use std::fs::OpenOptions;

use bailiwick_domain::packed::Packed as _;

use super::*;
use crate::metering::{
    Meter,
    account::Standing,
    group::RecordedGroup,
    meter::if_nothing_follows,
    record, settled,
    tests::{call, clock, completed, now},
};

fn writer(folder: &std::path::Path, max_bytes: u64) -> (Writer, Arc<Account>) {
    let account = Arc::new(Account::new(max_bytes));
    (Writer::create(folder.to_owned(), Ulid(1), Arc::clone(&account)).unwrap(), account)
}

fn on_disk(folder: &std::path::Path) -> u64 {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn calls_that_begin_and_end_together_are_written_together() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, account) = writer(folder.path(), 1 << 20);
    let meter = Meter::new(Some(writer), clock());
    let before = on_disk(folder.path());
    let mut open: Vec<_> = (0..3).map(|_| meter.start(call()).unwrap()).collect();
    let settled = open.pop().unwrap().settle(completed(1), now());
    assert_eq!(on_disk(folder.path()), before, "they wait");
    assert_eq!((account.open_calls(), account.unsent()), (2, 0));
    assert!(account.bytes() > before + 400, "their room is taken at once");
    settled.at_once();
    assert_eq!((account.bytes(), account.unsent()), (on_disk(folder.path()), 1));
    drop(open);
    assert_eq!((account.bytes(), account.open_calls(), account.unsent()), (on_disk(folder.path()), 0, 3));
}

#[test]
fn what_gathers_without_anybody_to_wait_for_it_is_written_at_a_bound() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, _) = writer(folder.path(), 16 << 20);
    let meter = Meter::new(Some(writer), clock());
    let before = on_disk(folder.path());
    let open: Vec<_> = (0..1000).map(|_| meter.start(call()).unwrap()).collect();
    assert!(on_disk(folder.path()) > before + GATHERED_BYTES as u64);
    let before = on_disk(folder.path());
    let settled: Vec<_> = open.into_iter().map(|open| open.settle(completed(1), now())).collect();
    assert!(on_disk(folder.path()) > before + GATHERED_BYTES as u64);
    drop(settled);
    // A record that grew past what one may have would be damage to who reads it.
    assert_eq!(settled::events(folder.path()).len(), 1000);
    assert_eq!(settled::started(folder.path()).len(), 1000);
}

#[test]
fn more_calls_than_fit_a_record_are_carried_to_the_next_segment() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, _) = writer(folder.path(), 1 << 20);
    let meter = Meter::new(Some(writer.with_segments_of(16 << 10)), clock());
    let open: Vec<_> = (0..500).map(|_| meter.start(call()).unwrap()).collect();
    meter.write().unwrap();
    let newest = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
        if entry.path() != newest {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    assert_eq!(settled::started(folder.path()).len(), open.len());
}

#[test]
fn a_full_journal_refuses_new_calls_and_settles_old_ones() {
    const MAX_BYTES: u64 = 64 * 1024;
    let folder = tempfile::tempdir().unwrap();
    let (writer, account) = writer(folder.path(), MAX_BYTES);
    let meter = Meter::new(Some(writer), clock());
    let mut open = Vec::new();
    let refused = loop {
        match meter.start(call()) {
            Ok(call) => open.push(call),
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, JournalFull::Bound { max_bytes: MAX_BYTES }));
    assert!(open.len() > 50);
    open.into_iter().for_each(|call| call.settle(completed(1), now()).at_once());
    assert!(on_disk(folder.path()) <= MAX_BYTES, "{}", on_disk(folder.path()));
    assert_eq!(account.open_calls(), 0);
    // Room comes back when the control plane has acknowledged.
    account.deleted(on_disk(folder.path()) / 2);
    assert!(meter.start(call()).is_ok());
}

#[test]
fn a_full_disk_refuses_new_calls_and_loses_no_event() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, account) = writer(folder.path(), 1 << 20);
    let good = Arc::clone(&writer.file);
    let (first, other, second) = (call(), call(), call());
    writer.start(first.event_id, &if_nothing_follows(&first)).unwrap();
    writer.start(other.event_id, &if_nothing_follows(&other)).unwrap();
    writer.write().unwrap();

    writer.file = Arc::new(OpenOptions::new().write(true).open("/dev/full").unwrap());
    writer.settle(first.event_id, &if_nothing_follows(&first), &[]);
    writer.start(call().event_id, &if_nothing_follows(&call())).unwrap();
    writer.settle(other.event_id, &if_nothing_follows(&other), &[]);
    let short = call();
    writer.start(short.event_id, &if_nothing_follows(&short)).unwrap();
    writer.settle(short.event_id, &if_nothing_follows(&short), &[]);
    assert!(writer.write().is_err());
    assert_eq!(account.open_calls(), 0, "the one that started then has not after all");
    assert_eq!((account.unsent(), writer.owed.len()), (0, 3));
    assert!(matches!(writer.start(second.event_id, &if_nothing_follows(&second)), Err(JournalFull::Disk(_))));

    writer.file = good;
    writer.start(second.event_id, &if_nothing_follows(&second)).unwrap();
    assert_eq!((account.unsent(), writer.owed.len()), (3, 0), "what was owed went first");
    writer.write().unwrap();
    assert_eq!((account.bytes(), account.open_calls()), (on_disk(folder.path()), 1));
    let keys = settled::events(folder.path()).into_iter().map(|event| event.subject.key_id.to_vec());
    assert_eq!(keys.collect::<Vec<_>>(), [first, other, short].map(|call| call.key.to_packed()));
}

#[test]
fn a_new_segment_begins_with_the_calls_that_are_open() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, _) = writer(folder.path(), 1 << 20);
    let meter = Meter::new(Some(writer.with_segments_of(1024)), clock());
    let open = meter.start(call()).unwrap();
    (0..20).for_each(|tokens| meter.start(call()).unwrap().settle(completed(tokens), now()).at_once());
    let newest = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    let bytes = std::fs::read(newest).unwrap();
    let header = record::first(&bytes).unwrap();
    let carried = record::first(&bytes[header.size()..]).unwrap();
    assert!(Header::parse(header.payload).unwrap().first_sequence > 1);
    let carried: Vec<_> = RecordedGroup::read(carried.payload).unwrap().calls.collect();
    assert_eq!(carried.iter().map(|call| call.said).collect::<Vec<_>>(), [Said::Start]);
    drop(open);
}

#[test]
fn a_segment_that_begins_while_a_call_ends_has_its_start() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, _) = writer(folder.path(), 1 << 20);
    let calls: Vec<_> = (0..200).map(|_| call()).collect();
    for call in &calls {
        writer.start(call.event_id, &if_nothing_follows(call)).unwrap();
    }
    writer.write().unwrap();
    writer.segment_bytes = 1;
    let mut began = 0;
    for call in &calls {
        let before = writer.name;
        writer.settle(call.event_id, &if_nothing_follows(call), &[]);
        if writer.name != before {
            // What was before is acknowledged, and the process dies before the end is on disk.
            std::fs::remove_file(before.path(folder.path())).unwrap();
            let id = call.event_id.as_bytes();
            assert!(settled::started(folder.path()).iter().any(|started| started.event_id == id[..]));
            began += 1;
        }
    }
    assert!(began > 0);
}

#[test]
fn what_is_owed_is_written_without_another_call() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, account) = writer(folder.path(), 1 << 20);
    let good = Arc::clone(&writer.file);
    let full = || Arc::new(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let event = if_nothing_follows(&call());
    let id = event.event_id;
    writer.start(id, &event).unwrap();
    writer.write().unwrap();
    writer.file = full();
    writer.settle(id, &event, &[]);
    assert!(writer.write().is_err());
    writer.try_again();
    assert_eq!((account.standing(), writer.owed.len()), (Standing::Unwritable, 1));
    writer.file = Arc::clone(&good);
    writer.try_again();
    assert_eq!((account.standing(), writer.owed.len(), account.unsent()), (Standing::Good, 0, 1));

    // Where a call was refused and nothing is owed, it is tried as well, and leaves nothing behind.
    let length = on_disk(folder.path());
    writer.file = full();
    writer.start(call().event_id, &event).unwrap();
    assert!(writer.write().is_err());
    writer.try_again();
    assert_eq!(account.standing(), Standing::Unwritable);
    writer.file = good;
    writer.try_again();
    assert_eq!((account.standing(), account.disk_failures()), (Standing::Good, 4));
    assert_eq!((on_disk(folder.path()), account.bytes()), (length, length));
}
