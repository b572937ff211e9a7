use bailiwick_quota::limit::Measure;

use super::{
    super::tests::{limit, organization},
    *,
};
use crate::metering::Journals;

const FIRST: HolderId = HolderId(1 << 32 | 1);

fn life(folder: &Path) -> (Names, Journals) {
    let journals = Journals::open(folder, 1, 1 << 20, Timestamp::from_micros(0)).unwrap();
    (Names::left_in(folder, &journals.lock, &journals.lives), journals)
}

/// The life is killed: its journal stays as it is.
fn kill((names, journals): (Names, Journals)) {
    let Journals { writers, lock, .. } = journals;
    writers.into_iter().for_each(std::mem::forget);
    drop((names, lock));
}

/// Journals of a killed life are sent, acknowledged and deleted.
fn send_all(folder: &Path, of: &[String]) {
    for file in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = file.file_name().unwrap().to_str().unwrap();
        if of.iter().any(|journal| name.starts_with(journal.as_str())) {
            fs::remove_file(&file).unwrap();
        }
    }
}

#[test]
fn the_next_life_knows_the_names_of_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let (mut names, journals) = life(folder.path());
    assert_eq!(names.earlier(), []);
    names.named(FIRST).unwrap();
    // The control plane had forgotten it in between.
    names.named(HolderId(2 << 32 | 1)).unwrap();
    kill((names, journals));
    assert_eq!(life(folder.path()).0.earlier(), [FIRST, HolderId(2 << 32 | 1)]);
}

#[test]
fn what_a_life_used_is_said_until_it_is_settled_also_when_its_journals_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (mut names, journals) = life(folder.path());
    names.named(FIRST).unwrap();
    let own = names.own.journals.clone();
    kill((names, journals));
    let nothing = [Settlement { holder: FIRST, used: Vec::new() }];

    let (mut names, journals) = life(folder.path());
    assert_eq!(names.settlements(), nothing);
    // The control plane hears of the first life, and this one is killed before it is settled.
    names.named(HolderId(2)).unwrap();
    send_all(folder.path(), &own);
    kill((names, journals));

    let (mut names, journals) = life(folder.path());
    assert_eq!(names.earlier(), [FIRST, HolderId(2)]);
    let next = Settlement { holder: HolderId(2), used: Vec::new() };
    assert_eq!(names.settlements(), [nothing.as_slice(), std::slice::from_ref(&next)].concat());
    names.named(HolderId(3)).unwrap();
    names.settled(FIRST).unwrap();
    kill((names, journals));

    let (names, _journals) = life(folder.path());
    assert_eq!(names.settlements()[0], next);
    assert_eq!(names.earlier(), [HolderId(2), HolderId(3)]);
}

#[test]
fn of_a_life_whose_journals_are_not_all_there_nothing_is_said_but_that_it_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let (mut names, journals) = life(folder.path());
    names.named(FIRST).unwrap();
    let own = names.own.journals.clone();
    kill((names, journals));
    send_all(folder.path(), &own);

    let (mut names, journals) = life(folder.path());
    assert_eq!((names.earlier(), names.settlements()), (vec![FIRST], Vec::new()));
    names.named(HolderId(2)).unwrap();
    kill((names, journals));
    assert_eq!(life(folder.path()).0.earlier(), [HolderId(2)], "it was told of");
}

#[test]
fn what_cores_were_charged_is_summed_in_the_last_window_of_each_account() {
    let limit = limit(organization(), 1, Measure::NanoUsdPerDay, 100).id();
    let account = Account { limit, key: None, member: None, model: None, deployment: None };
    let day = |day: i64| Measure::NanoUsdPerDay.period().window(Timestamp::from_micros(day * 86_400_000_000));
    let charge = |holder, day_number, units| Charge { account, window: day(day_number), holder, units };
    let (one, other) = (Ulid(1), Ulid(2));
    let life =
        Life { journals: vec![one.to_string(), other.to_string()], holders: vec![1, 2], charged: None };
    let of_one = vec![charge(HolderId(1), 20_000, 70), charge(HolderId(2), 20_001, 5)];
    let of_other = vec![charge(HolderId(1), 20_001, 3), charge(HolderId(2), 20_001, 6)];
    let left = BTreeMap::from([(one, Some(of_one.clone())), (other, Some(of_other))]);
    let life = Life { charged: life.read(&left), ..life };
    let used = |units| vec![Consumed { account, window_starts: day(20_001).starts, units }];
    let expected =
        [(1, 3), (2, 11)].map(|(holder, units)| Settlement { holder: HolderId(holder), used: used(units) });
    assert_eq!(life.settlements(), expected);

    for incomplete in
        [BTreeMap::from([(one, Some(of_one.clone()))]), BTreeMap::from([(one, Some(of_one)), (other, None)])]
    {
        assert_eq!(life.read(&incomplete), None);
    }
}

#[test]
fn a_life_that_was_never_named_leaves_what_it_found() {
    let folder = tempfile::tempdir().unwrap();
    let (mut names, journals) = life(folder.path());
    names.named(HolderId(5)).unwrap();
    kill((names, journals));
    kill(life(folder.path()));
    assert_eq!(life(folder.path()).0.earlier(), [HolderId(5)]);
}

#[test]
fn what_is_damaged_is_passed_over_and_no_more_is_kept_than_a_hello_takes() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(FILE), "7\n\u{0}garbage\n-1\n18446744073709551616\n8\n").unwrap();
    let (mut names, journals) = life(folder.path());
    assert_eq!(names.earlier(), []);
    for holder in 100..200 {
        names.named(HolderId(holder)).unwrap();
    }
    kill((names, journals));
    for _ in 0..2 * MOST_LIVES {
        let (mut names, journals) = life(folder.path());
        names.named(HolderId(7)).unwrap();
        kill((names, journals));
    }
    assert!(life(folder.path()).0.earlier.len() <= MOST_LIVES);
    let (names, _journals) = life(folder.path());
    assert!(names.earlier().len() <= MOST_LIVES * MAX_SUPERSEDED);
    assert_eq!(names.earlier().last(), Some(&HolderId(7)));
}
