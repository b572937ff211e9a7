//! The way to a PostgreSQL server on another machine. The test's own is on this one, and is asked as if it were not.

use bailiwick_store::SqlStore;
use sqlx::{AnyConnection, Connection};

use crate::fixture::{expected, setting};

pub(crate) const URL: &str = "BAILIWICK_TEST_POSTGRES_TLS_URL";
pub(crate) const ROOT: &str = "BAILIWICK_TEST_POSTGRES_TLS_ROOT";

async fn refusal(url: &str) -> String {
    let opened = SqlStore::open(url, &expected("eu-central-1")).await;
    format!("{:?}", opened.expect_err("refused"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r4_the_store_is_encrypted_on_its_way_and_its_server_proves_who_it_is() {
    let (Some(url), Some(root)) = (setting(URL), setting(ROOT)) else { return };

    let unknown = refusal(&format!("{url}?sslmode=verify-full")).await;
    assert!(unknown.contains("InvalidCertificate"), "nobody vouches for this server: {unknown}");

    let misnamed = url.replace("localhost", "127.0.0.1");
    let misnamed = refusal(&format!("{misnamed}?sslmode=verify-full&sslrootcert={root}")).await;
    assert!(misnamed.contains("NotValidForName"), "its certificate has another name: {misnamed}");

    sqlx::any::install_default_drivers();
    let verified = format!("{url}?sslmode=verify-full&sslrootcert={root}");
    let mut connection = AnyConnection::connect(&verified).await.expect("it is who it says");
    let encrypted =
        "SELECT CASE WHEN ssl THEN 1 ELSE 0 END::bigint FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let encrypted: i64 = sqlx::query_scalar(encrypted).fetch_one(&mut connection).await.expect("it says");
    assert_eq!(encrypted, 1);
}
