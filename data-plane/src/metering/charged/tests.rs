use std::{fs, sync::Arc};

use bailiwick_domain::usage::EventId;
use bailiwick_quota::limit::Measure;

use super::*;
use crate::{
    limits::tests::{limit, organization},
    metering::{
        StartedCall,
        account::Account as Room,
        meter::if_nothing_follows,
        tests::{call, now},
        writer::Writer,
    },
};

const JOURNAL: Ulid = Ulid(7);
const HOLDER: HolderId = HolderId(1 << 32 | 1);

fn writer(folder: &Path) -> Writer {
    let account = Arc::new(Room::new(1 << 20));
    // Room for twelve accounts.
    Writer::create(folder.to_owned(), JOURNAL, account).unwrap().with_segments_of(8 << 10)
}

fn charge(number: u32, measure: Measure, at: Timestamp, units: u64) -> Charge {
    let limit = limit(organization(), number, measure, 1).id();
    let account = Account { limit, key: None, member: None, model: None, deployment: None };
    Charge { account, window: measure.period().window(at), holder: HOLDER, units }
}

/// A call from its start to its end.
fn charged(writer: &mut Writer, charges: &[Charge]) {
    let started = call();
    let id = EventId::new(now());
    let event = event(&started);
    writer.start(id, &event).unwrap();
    writer.settle(id, &event, charges);
    writer.write().unwrap();
}

fn event(started: &StartedCall) -> bailiwick_domain::usage::UsageEvent {
    if_nothing_follows(&StartedCall { organization: organization(), ..*started })
}

/// What a next life finds of it, when the process is killed now.
fn after_a_kill(folder: &Path, writer: Writer) -> Charged {
    std::mem::forget(writer);
    found(folder)
}

fn found(folder: &Path) -> Charged {
    let numbers = segments(folder).into_iter().map(|(number, _)| number).collect();
    let mut found = of_left(folder, &BTreeMap::from([(JOURNAL, numbers)]));
    found.remove(&JOURNAL).unwrap().map(|mut charges| {
        charges.sort_by_key(|charge| charge.account);
        charges
    })
}

fn segments(folder: &Path) -> Vec<(u32, std::path::PathBuf)> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named =
        files.filter_map(|path| Some((SegmentName::parse(path.file_name()?.to_str()?)?.number, path)));
    let mut segments: Vec<_> = named.collect();
    segments.sort();
    segments
}

#[test]
fn the_last_segment_tells_what_all_calls_were_charged() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path());
    for round in 1..=100 {
        let of_total = charge(1, Measure::NanoUsdTotal, now(), round);
        let of_month = charge(2, Measure::NanoUsdPerMonth, now(), 2 * round);
        charged(&mut writer, &[of_total, of_month]);
        charged(&mut writer, &[]);
    }
    let all = segments(folder.path());
    assert!(all.len() > 3, "{all:?}");
    // What is acknowledged is deleted.
    all.iter().rev().skip(1).for_each(|(_, path)| fs::remove_file(path).unwrap());
    let expected = vec![
        charge(1, Measure::NanoUsdTotal, now(), 5050),
        charge(2, Measure::NanoUsdPerMonth, now(), 10_100),
    ];
    assert_eq!(after_a_kill(folder.path(), writer), Some(expected));
}

#[test]
fn of_each_account_the_last_window_counts() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path());
    let day = std::time::Duration::from_secs(86_400);
    let tomorrow = now().saturating_add(day);
    for (at, units) in [(now(), 5), (tomorrow, 7), (now(), 9), (tomorrow, 2)] {
        charged(&mut writer, &[charge(1, Measure::NanoUsdPerDay, at, units)]);
    }
    // Accounts whose windows are over make room for others.
    let mut at = tomorrow;
    for number in 2..40 {
        at = at.saturating_add(day);
        charged(&mut writer, &[charge(number, Measure::NanoUsdPerDay, at, 1)]);
    }
    let found = after_a_kill(folder.path(), writer).expect("known");
    assert_eq!(found.last(), Some(&charge(39, Measure::NanoUsdPerDay, at, 1)));
}

#[test]
fn what_was_not_written_is_not_told_as_its_calls_are_metered_as_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path());
    charged(&mut writer, &[charge(1, Measure::NanoUsdTotal, now(), 5)]);
    let event = event(&call());
    let id = EventId::new(now());
    writer.start(id, &event).unwrap();
    writer.write().unwrap();
    writer.settle(id, &event, &[charge(1, Measure::NanoUsdTotal, now(), 100)]);
    let expected = vec![charge(1, Measure::NanoUsdTotal, now(), 5)];
    assert_eq!(after_a_kill(folder.path(), writer), Some(expected.clone()));

    // Nor is what was written in part, wherever it is cut.
    let (_, last) = segments(folder.path()).pop().unwrap();
    let bytes = fs::read(&last).unwrap();
    fs::write(&last, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(found(folder.path()), Some(expected));
}

#[test]
fn a_segment_whose_beginning_is_cut_leaves_the_word_to_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path());
    while segments(folder.path()).len() < 3 {
        charged(&mut writer, &[charge(1, Measure::NanoUsdTotal, now(), 5)]);
    }
    let whole = after_a_kill(folder.path(), writer);
    assert!(whole.is_some());
    let (_, last) = segments(folder.path()).pop().unwrap();
    let bytes = fs::read(&last).unwrap();
    for length in 0..bytes.len() {
        fs::write(&last, &bytes[..length]).unwrap();
        assert_eq!(found(folder.path()), whole, "cut to {length} of {}", bytes.len());
    }
}

#[test]
fn where_something_is_missing_nothing_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path());
    while segments(folder.path()).len() < 2 {
        charged(&mut writer, &[charge(1, Measure::NanoUsdTotal, now(), 5)]);
    }
    (0..3).for_each(|_| charged(&mut writer, &[charge(1, Measure::NanoUsdTotal, now(), 5)]));
    assert!(after_a_kill(folder.path(), writer).is_some());
    let (_, last) = segments(folder.path()).pop().unwrap();
    let good = fs::read(&last).unwrap();
    for flipped in (0..good.len()).step_by(7) {
        let mut bytes = good.clone();
        bytes[flipped] ^= 1;
        fs::write(&last, &bytes).unwrap();
        // The last record alone cannot be told from one that was written in part.
        let is_last = record::damage(&bytes[flipped..]) == bytes.len() - flipped;
        assert!(found(folder.path()).is_none() || is_last, "bit {flipped} of {}", good.len());
    }
    fs::remove_file(&last).unwrap();
    fs::remove_file(&segments(folder.path())[0].1).unwrap();
    assert_eq!(found(folder.path()), None);
}

#[test]
fn of_more_accounts_than_are_carried_nothing_is_told_also_in_later_segments() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path());
    for number in 1..=13 {
        charged(&mut writer, &[charge(number, Measure::NanoUsdTotal, now(), 5)]);
    }
    let before = segments(folder.path()).len();
    while segments(folder.path()).len() < before + 2 {
        charged(&mut writer, &[charge(1, Measure::NanoUsdTotal, now(), 5)]);
    }
    assert_eq!(after_a_kill(folder.path(), writer), None);
}

#[test]
fn a_segment_that_cannot_be_opened_is_unknown_and_not_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path());
    (1..=100).for_each(|round| charged(&mut writer, &[charge(1, Measure::NanoUsdTotal, now(), round)]));
    assert!(after_a_kill(folder.path(), writer).is_some());
    let all = segments(folder.path());
    let (_, last) = all.last().unwrap();
    assert!(all.len() > 1, "one before it could be read");
    fs::remove_file(last).unwrap();
    std::os::unix::fs::symlink("nowhere", last).unwrap();
    assert_eq!(found(folder.path()), None);
}

#[test]
fn an_account_of_one_key_model_and_deployment_is_known_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path());
    let (id, event) = (EventId::new(now()), event(&call()));
    let (key, model, deployment) = (Some(event.key), Some(event.model), Some(event.deployment));
    let mut narrow = charge(1, Measure::NanoUsdTotal, now(), 5);
    narrow.account = Account { key, model, deployment, ..narrow.account };
    writer.start(id, &event).unwrap();
    writer.settle(id, &event, &[narrow]);
    writer.write().unwrap();
    assert_eq!(after_a_kill(folder.path(), writer), Some(vec![narrow]));
}

#[test]
fn a_charge_to_an_account_that_its_event_does_not_name_is_unknown() {
    let told = |of_key: u8, more: &[u8]| {
        let organization_id = organization().to_packed().into();
        let subject = UsageSubject { organization_id, ..UsageSubject::default() }.encode_to_vec();
        let length = u8::try_from(subject.len()).unwrap();
        // One that ended: with its subject at 0, one charge, and an event of no bytes.
        let mut payload = [length + 1, 0, 1, 0, length].to_vec();
        payload.extend(subject);
        payload.extend([b'E', 0, 0, 1, 0, 0, 0]);
        // Of a charge's 37 bytes the fifth tells what its account is of.
        payload.extend([1, 0, 0, 0, of_key]);
        payload.extend([0; 32]);
        payload.extend(more);
        add_calls(&mut Sums::for_segments_of(0), &payload)
    };
    assert_eq!((told(0, &[]), told(1, &[])), (Some(true), None));
    assert_eq!(told(0, b"X"), None, "nor is what stands behind calls and is none");
}
