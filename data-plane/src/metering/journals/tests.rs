use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::metering::tests::now;

fn open(folder: &Path) -> Result<Journals, JournalError> {
    Journals::open(folder, 1, 1 << 20, now())
}

#[test]
fn two_processes_cannot_use_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).unwrap();
    let error = open(folder.path()).err().unwrap();
    assert!(matches!(error, JournalError::InUse(_)), "{error}");
    assert!(error.to_string().contains("give each worker its own"));
    drop(first);
    assert!(open(folder.path()).is_ok());
}

#[test]
fn nobody_else_reads_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("a/b");
    let _journals = open(&inner).unwrap();
    assert_eq!(fs::metadata(&inner).unwrap().permissions().mode() & 0o777, 0o700);
    for entry in fs::read_dir(&inner).unwrap().map(Result::unwrap) {
        if entry.file_name() != LOCK {
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}

#[test]
fn files_of_others_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["notes.txt", "x.journal", "01JD0W6KQ4V6J5T6T9N2X8Y3ZB-1.journal"] {
        fs::write(folder.path().join(name), "mine").unwrap();
    }
    let journals = open(folder.path()).unwrap();
    assert_eq!(journals.account.unsent(), 0);
    assert!(folder.path().join("x.journal").exists());
}

#[test]
fn a_journal_of_another_build_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let name = SegmentName { journal: Ulid(7), number: 0 };
    let mut bytes = Vec::new();
    Header { name, first_sequence: 1 }.append(&mut bytes);
    fs::write(name.path(folder.path()), &bytes).unwrap();
    assert!(open(folder.path()).is_ok(), "one of this build is read");

    let mut of_before = Vec::new();
    record::append(&mut of_before, Kind::Header, |out| out.extend_from_slice(&[1; 29]));
    of_before.extend_from_slice(&bytes);
    let path = SegmentName { number: 1, ..name }.path(folder.path());
    fs::write(&path, &of_before).unwrap();
    let error = open(folder.path()).err().unwrap();
    assert!(matches!(&error, JournalError::OtherBuild(of) if *of == path), "{error}");
    assert_eq!(fs::read(&path).unwrap(), of_before);
    // Nothing was begun, either, that a next start would find.
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        4,
        "two segments, what a start left, and the lock"
    );
}

#[tokio::test]
async fn a_syncer_ends_when_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let journals = open(folder.path()).unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    journals.syncer.run(Duration::from_millis(1), stop).await;
}
