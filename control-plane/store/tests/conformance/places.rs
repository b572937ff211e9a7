//! Where a store may be. These concern one backend, or none.

use std::os::unix::fs::PermissionsExt;

use bailiwick_core::ports::store::{Store, StoreError};
use bailiwick_store::SqlStore;

use crate::fixture::expected;

#[tokio::test]
async fn a_sqlite_store_is_readable_by_its_owner_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let inner = folder.path().join("with a space, é and 100%");
    std::fs::create_dir(&inner).expect("a folder");
    let file = inner.join("region.db");
    // A file that was there before, open to all, is closed.
    std::fs::write(&file, []).expect("a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("open to all");
    let url = format!("sqlite://{}", file.display().to_string().replace('%', "%25"));
    let store = SqlStore::open(&url, &expected("eu-central-1")).await.expect("opens");
    store.ping().await.expect("answers");
    let mut modes = Vec::new();
    for entry in std::fs::read_dir(&inner).expect("lists") {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("metadata").permissions().mode() & 0o777;
        modes.push((entry.file_name().to_string_lossy().into_owned(), mode));
    }
    modes.sort();
    let expected = ["region.db", "region.db-shm", "region.db-wal"].map(|name| (name.to_owned(), 0o600));
    assert_eq!(modes, expected);
    store.close().await;
}

#[tokio::test]
async fn only_files_and_servers_are_stores() {
    for url in ["sqlite::memory:", "sqlite://:memory:", "mysql://localhost/x", "region.db", ""] {
        let refused = SqlStore::open(url, &expected("eu-central-1")).await.expect_err(url);
        assert!(matches!(refused, StoreError::Database(_)), "{url}: {refused:?}");
    }
}

#[tokio::test]
async fn a_store_that_is_not_there_is_unavailable() {
    for url in ["sqlite:///no/such/folder/region.db", "postgres://localhost/x?host=/no/such/folder"] {
        let refused = SqlStore::open(url, &expected("eu-central-1")).await.expect_err(url);
        assert!(matches!(refused, StoreError::Unavailable(_)), "{url}: {refused:?}");
    }
}
