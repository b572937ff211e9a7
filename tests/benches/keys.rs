//! Very many keys, at once: rows put into a region's store while its control plane is away. The admin API makes each key in a transaction of its own, with its audit
//! record, which is not what is measured here. Nobody has these keys: their digests are random.

use std::{path::Path, process::Command};

use anyhow::Context;

/// Puts copies of the first key into a SQLite store, until there are so many. The columns are those that the store has.
pub fn fill(store: &Path, keys: u64) -> anyhow::Result<()> {
    let columns = sql(store, "SELECT name FROM pragma_table_info('api_keys')")?;
    let columns: Vec<&str> = columns.lines().collect();
    let chosen = columns.iter().map(|name| match *name {
        // `key_euc1_`, and sixteen characters that an identifier may have.
        "id" => "substr(k.id, 1, 9) || hex(randomblob(8))".to_owned(),
        "digest" => "randomblob(length(k.digest))".to_owned(),
        other => format!("k.{other}"),
    });
    let (names, values) = (columns.join(", "), chosen.collect::<Vec<_>>().join(", "));
    let made = sql(
        store,
        &format!(
            "WITH RECURSIVE n(i) AS (SELECT (SELECT count(*) FROM api_keys) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {keys})
             INSERT INTO api_keys ({names}) SELECT {values} FROM n, (SELECT * FROM api_keys ORDER BY created_at LIMIT 1) k
             WHERE (SELECT count(*) FROM api_keys) < {keys};
             SELECT count(*) FROM api_keys;"
        ),
    )?;
    let count: u64 = made.trim().parse().context("a number of keys")?;
    anyhow::ensure!(count >= keys, "the store has {count} keys, not {keys}");
    Ok(())
}

fn sql(store: &Path, text: &str) -> anyhow::Result<String> {
    let output = Command::new("sqlite3").arg(store).arg(text).output();
    let output = output.context(
        "sqlite3 does not start: install it (deploy/local/install sqlite3 sqlite3), or leave `keys` out",
    )?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
