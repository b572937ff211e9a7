use bailiwick_domain::time::Timestamp;

use super::*;
use crate::metering::Journals;

fn life(folder: &Path) -> (Names, FolderLock) {
    let journals = Journals::open(folder, 1, 1 << 20, Timestamp::from_micros(0)).unwrap();
    (Names::left_in(folder, &journals.lock), journals.lock)
}

#[test]
fn the_next_life_knows_the_names_of_this_one_and_not_those_that_were_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let (mut names, lock) = life(folder.path());
    assert_eq!(names.earlier(), []);
    names.named(HolderId(1 << 32 | 1)).unwrap();
    // The control plane had forgotten it in between.
    names.named(HolderId(2 << 32 | 1)).unwrap();
    drop((names, lock));

    let (mut names, lock) = life(folder.path());
    assert_eq!(names.earlier(), [HolderId(1 << 32 | 1), HolderId(2 << 32 | 1)]);
    names.named(HolderId(2 << 32 | 2)).unwrap();
    drop((names, lock));

    let (names, _lock) = life(folder.path());
    assert_eq!(names.earlier(), [HolderId(2 << 32 | 2)]);
}

#[test]
fn a_life_that_was_never_named_leaves_what_it_found() {
    let folder = tempfile::tempdir().unwrap();
    let (mut names, lock) = life(folder.path());
    names.named(HolderId(5)).unwrap();
    drop((names, lock));
    drop(life(folder.path()));
    assert_eq!(life(folder.path()).0.earlier(), [HolderId(5)]);
}

#[test]
fn what_is_damaged_is_passed_over_and_no_more_is_kept_than_a_hello_takes() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(FILE), "7\n\u{0}garbage\n-1\n18446744073709551616\n8\n").unwrap();
    let (mut names, _lock) = life(folder.path());
    assert_eq!(names.earlier(), [HolderId(7), HolderId(8)]);
    for holder in 100..200 {
        names.named(HolderId(holder)).unwrap();
    }
    assert_eq!(names.earlier().len(), MAX_SUPERSEDED);
    assert_eq!(names.earlier().last(), Some(&HolderId(199)));
}
