use std::path::Path;

use bailiwick_domain::packed::Packed as _;
use proptest::prelude::*;

use super::*;
use crate::metering::{
    Account, Meter, StartedCall, Writer,
    record::FRAME_BYTES,
    settled::Metered,
    tests::{call, clock, completed, now},
};

fn account() -> Arc<Account> {
    Arc::new(Account::new(1 << 30))
}

fn writer(folder: &Path) -> Writer {
    Writer::create(folder.to_owned(), Ulid(7), account()).unwrap()
}

/// A journal of `calls` settled calls; the number of tokens is the call's. Each is on disk before it ends, as before its provider hears of it.
fn written(folder: &Path, calls: u64, segment_bytes: u64) {
    let meter = Meter::new(Some(writer(folder).with_segments_of(segment_bytes)), clock());
    for tokens in 0..calls {
        let open = meter.start(call()).unwrap();
        meter.write().unwrap();
        open.settle(completed(tokens), now()).at_once();
    }
}

fn segments(folder: &Path) -> Vec<u32> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter_map(|name| SegmentName::parse(name.to_str().unwrap())).map(|name| name.number).collect()
}

fn left(folder: &Path) -> Tail {
    Tail::left(folder.to_owned(), Ulid(7), segments(folder), account())
}

/// Everything that a left journal gives, acknowledged as it comes.
fn decoded(batch: &Batch) -> Vec<Metered> {
    let subjects: Vec<&[u8]> = batch.events.subjects().collect();
    let event = |event: &[u8]| {
        let place = UsageEvent::decode(event).unwrap().subject;
        Metered::decode(subjects[place as usize], event)
    };
    batch.events.iter().map(event).collect()
}

fn drained(tail: &mut Tail) -> Vec<(u64, Metered)> {
    let mut events = Vec::new();
    while !tail.is_done() {
        if let Some(batch) = tail.read() {
            let last = batch.first_sequence + batch.events.len() as u64 - 1;
            events.extend((batch.first_sequence..).zip(decoded(&batch)));
            assert!(tail.acknowledge(last));
        }
    }
    events
}

#[test]
fn sequences_count_up_over_segments_and_batches() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 2500, 64 * 1024);
    assert!(segments(folder.path()).len() > 5);
    let events = drained(&mut left(folder.path()));
    let expected: Vec<(u64, u64)> = (0..2500).map(|number| (number + 1, number)).collect();
    assert_eq!(
        events.iter().map(|(sequence, event)| (*sequence, event.prompt_tokens)).collect::<Vec<_>>(),
        expected
    );
    assert_eq!(segments(folder.path()), [] as [u32; 0]);
}

/// A report has a bound, and what is written together is read together.
#[test]
fn a_batch_has_no_more_than_it_may_of_calls_that_ended_together() {
    let folder = tempfile::tempdir().unwrap();
    let writer = writer(folder.path()).with_segments_of(64 << 10);
    let mut live = Tail::live(folder.path().to_owned(), Ulid(7), writer.published(), account());
    let meter = Meter::new(Some(writer), clock());
    let of_one_key = call();
    for first in (0..2520).step_by(60) {
        let one = || meter.start(StartedCall { event_id: call().event_id, ..of_one_key }).unwrap();
        let open: Vec<_> = (0..60).map(|_| one()).collect();
        meter.write().unwrap();
        let settled =
            open.into_iter().zip(first..).map(|(open, tokens)| open.settle(completed(tokens), now()));
        drop(settled.collect::<Vec<_>>());
    }
    drop(meter);
    let mut left = left(folder.path());
    for tail in [&mut live, &mut left] {
        let mut read = Vec::new();
        while let Some(batch) = tail.read() {
            assert!(batch.events.len() == 960 || read.len() == 1920, "sixteen times sixty, and the rest");
            assert_eq!(batch.first_sequence, read.len() as u64 + 1);
            read.extend(decoded(&batch).iter().map(|event| event.prompt_tokens));
        }
        assert_eq!(read, (0..2520).collect::<Vec<_>>());
    }
}

#[test]
fn what_is_not_acknowledged_is_read_again_the_same() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 2500, 64 * 1024);
    let mut tail = left(folder.path());
    let first = tail.read().unwrap();
    let second = tail.read().unwrap();
    assert!(tail.acknowledge(1000));
    assert!(!tail.acknowledge(2001), "that was not sent");
    tail.rewind();
    assert_eq!(tail.read().unwrap(), second);
    tail.rewind();
    assert_eq!(drained(&mut tail).len(), 1500);
    assert_eq!(first.first_sequence, 1);
}

#[test]
fn a_call_without_an_event_is_interrupted_each_time_with_the_same_sequence() {
    let folder = tempfile::tempdir().unwrap();
    let meter = Meter::new(Some(writer(folder.path())), clock());
    meter.start(call()).unwrap().settle(completed(3), now()).at_once();
    for _ in 0..3 {
        std::mem::forget(meter.start(call()).unwrap());
    }
    meter.write().unwrap();
    std::mem::forget(meter);
    let mut tail = left(folder.path());
    let all = tail.read().unwrap();
    assert_eq!((all.first_sequence, all.events.len()), (1, 4));
    let interrupted = |event: &Metered| event.end() == bailiwick_proto::worker::v1::CallEnd::Interrupted;
    assert_eq!(decoded(&all).iter().filter(|event| interrupted(event)).count(), 3);
    tail.rewind();
    assert_eq!(tail.read().unwrap(), all);
    assert_eq!(left(folder.path()).read().unwrap(), all);
}

#[test]
fn each_event_has_the_subject_of_its_call() {
    let folder = tempfile::tempdir().unwrap();
    let writer = writer(folder.path()).with_segments_of(2048);
    let mut tail = Tail::live(folder.path().to_owned(), Ulid(7), writer.published(), account());
    let meter = Meter::new(Some(writer), clock());
    // Two that take turns, and one of its own; the last of each is never settled.
    let (one, other) = (call(), call());
    let calls: Vec<StartedCall> = (0..60)
        .map(|number| match number % 3 {
            0 => StartedCall { event_id: call().event_id, ..one },
            1 => StartedCall { event_id: call().event_id, ..other },
            _ => call(),
        })
        .collect();
    let (settled, left_open) = calls.split_at(57);
    for call in settled {
        meter.start(*call).unwrap().settle(completed(1), now()).at_once();
    }
    left_open.iter().for_each(|call| std::mem::forget(meter.start(*call).unwrap()));
    meter.write().unwrap();

    let subjects = |events: &[Metered]| -> HashMap<Vec<u8>, Vec<u8>> {
        events.iter().map(|event| (event.event_id.to_vec(), event.subject.key_id.to_vec())).collect()
    };
    let expected = |calls: &[StartedCall]| -> HashMap<Vec<u8>, Vec<u8>> {
        calls.iter().map(|call| (call.event_id.as_bytes().to_vec(), call.key.to_packed())).collect()
    };
    let sent = tail.read().unwrap();
    assert_eq!(subjects(&decoded(&sent)), expected(settled));
    assert_eq!(sent.events.subject_count(), 2 + settled.len() / 3);
    std::mem::forget(meter);
    let left: Vec<Metered> = drained(&mut left(folder.path())).into_iter().map(|(_, event)| event).collect();
    assert_eq!(subjects(&left), expected(&calls));
}

#[test]
fn a_live_journal_is_read_as_far_as_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let writer = writer(folder.path()).with_segments_of(2048);
    let mut tail = Tail::live(folder.path().to_owned(), Ulid(7), writer.published(), account());
    let meter = Meter::new(Some(writer), clock());
    assert_eq!(tail.read(), None);
    let open = meter.start(call()).unwrap();
    assert_eq!(tail.read(), None, "a call that is open has no event");
    for tokens in 0..50 {
        meter.start(call()).unwrap().settle(completed(tokens), now()).at_once();
        assert!(tail.has_work());
        let batch = tail.read().unwrap();
        assert_eq!((batch.first_sequence, batch.events.len()), (tokens + 1, 1));
        assert!(tail.acknowledge(tokens + 1));
    }
    drop(open);
    drop(meter);
    assert_eq!(drained(&mut tail).len(), 1);
    assert_eq!(segments(folder.path()), [] as [u32; 0]);
}

/// Where the records of a file begin, and whether calls end in them.
fn records(bytes: &[u8]) -> Vec<(usize, bool)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(record) = crate::metering::record::first(&bytes[at..]) {
        let group = RecordedGroup::read(record.payload).filter(|_| record.kind == Kind::Calls);
        found.push((at, group.is_some_and(|group| group.ends > 0)));
        at += record.size();
    }
    assert_eq!(at, bytes.len());
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A process, or its machine, died in the middle of a write.
    #[test]
    fn a_torn_end_loses_what_was_torn_and_nothing_else(calls in 1_u64..40, cut: prop::sample::Index) {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path(), calls, 1 << 20);
        let path = SegmentName { journal: Ulid(7), number: 0 }.path(folder.path());
        let bytes = fs::read(&path).unwrap();
        let cut = cut.index(bytes.len());
        fs::write(&path, &bytes[..cut]).unwrap();
        let whole = records(&bytes).windows(2).filter(|pair| pair[0].1 && pair[1].0 <= cut).count();
        let events = drained(&mut left(folder.path()));
        let completed = events.iter().filter(|(_, event)| event.status == 200).map(|(_, event)| event.prompt_tokens);
        prop_assert_eq!(completed.collect::<Vec<_>>(), (0..whole as u64).collect::<Vec<_>>());
        // A call whose event was torn off is interrupted: at most the one that was being written.
        prop_assert!(events.len() <= whole + 1);
    }

    #[test]
    fn a_flipped_bit_loses_one_record_and_never_a_call(calls in 2_u64..40, bit: prop::sample::Index) {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path(), calls, 1 << 20);
        let path = SegmentName { journal: Ulid(7), number: 0 }.path(folder.path());
        let mut bytes = fs::read(&path).unwrap();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bytes).unwrap();
        let events = drained(&mut left(folder.path()));
        // A damaged start still has its event; a damaged event still has its start.
        prop_assert_eq!(events.len() as u64, calls);
        prop_assert!(events.iter().filter(|(_, event)| event.status != 200).count() <= 1);
    }

    #[test]
    fn a_file_of_anything_is_read_to_its_end(bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(SegmentName { journal: Ulid(7), number: 0 }.path(folder.path()), &bytes).unwrap();
        prop_assert_eq!(drained(&mut left(folder.path())), []);
    }
}

#[test]
fn damage_larger_than_a_window_is_stepped_over() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 3, 1 << 20);
    let path = SegmentName { journal: Ulid(7), number: 0 }.path(folder.path());
    let bytes = fs::read(&path).unwrap();
    let (second, _) = records(&bytes)[3];
    let mut damaged = bytes[..second].to_vec();
    damaged.extend(vec![0xA5; 600 * 1024 + FRAME_BYTES]);
    damaged.extend(&bytes[second..]);
    fs::write(&path, &damaged).unwrap();
    assert_eq!(drained(&mut left(folder.path())).len(), 3);
}

#[test]
fn a_journal_of_another_build_gives_nothing_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 3, 1 << 20);
    let path = SegmentName { journal: Ulid(7), number: 0 }.path(folder.path());
    let mut bytes = fs::read(&path).unwrap();
    let (first_call, _) = records(&bytes)[1];
    let mut header = Vec::new();
    crate::metering::record::append(&mut header, Kind::Header, |out| out.extend_from_slice(&[1; 29]));
    bytes.splice(..first_call, header);
    fs::write(&path, &bytes).unwrap();
    let mut tail = left(folder.path());
    assert_eq!(tail.read(), None);
    assert!(tail.has_work() && !tail.is_done());
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_journal_that_cannot_be_read_is_read_when_it_can() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 3, 1 << 20);
    let path = SegmentName { journal: Ulid(7), number: 0 }.path(folder.path());
    let mut tail = left(folder.path());
    let aside = folder.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(tail.read(), None);
    assert!(tail.has_work() && !tail.is_done());
    fs::remove_dir(&path).unwrap();
    fs::rename(&aside, &path).unwrap();
    assert_eq!(tail.read().unwrap().events.len(), 3);
}
