//! `verify-store`: reads a whole store with this region's identity and master key, and says what does not hold.

use std::fmt::Write as _;

use anyhow::Context as _;
use bailiwick_core::{
    inspection::{Findings, inspect},
    ports::store::Store as _,
    records::ClusterIdentity,
};
use bailiwick_domain::time::{Clock as _, SystemClock};
use bailiwick_store::SqlStore;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use url::Url;

use crate::{
    commands::{Format, progress::Progress},
    region,
    settings::Settings,
};

/// What was found, as it is printed.
#[derive(Serialize)]
struct Report<'a> {
    region: &'a str,
    installation: &'a str,
    epoch: &'a str,
    holds: bool,
    #[serde(flatten)]
    findings: &'a Findings,
}

/// Verifies the configured store, or the one at `url`. Gives the report, and whether everything holds.
///
/// # Errors
/// The store is another region's or installation's, which the error names; it cannot be read; the master key cannot be had.
pub(crate) async fn verify_store(
    settings: &Settings,
    url: Option<SecretString>,
    format: Format,
) -> anyhow::Result<(String, bool)> {
    anyhow::ensure!(
        url.as_ref().is_none_or(|url| !has_password(url)),
        "--store has a password in it, which every process of this machine can read: name it in a configuration file, as store.url_from"
    );
    let vault = region::vault(settings).await?;
    let url = match url {
        Some(url) => url,
        None => region::store_url(&settings.store)?,
    };
    let expected = region::expected(settings, SystemClock.now());
    let store = SqlStore::open_as_it_is(url.expose_secret(), &expected).await;
    let store = store.context("the store cannot be verified")?;
    let identity = store.cluster_identity().await?;
    let mut rows = store.rows().await?;
    let mut progress = Progress::new();
    let home = &settings.region.jurisdiction;
    let mut tell = |table: &str, rows: u64| progress.tell(table, rows);
    let findings = inspect(rows.as_mut(), vault.as_ref(), home, &mut tell).await?;
    drop(rows);
    store.close().await;
    let report = match format {
        Format::Json => json(&identity, &findings)?,
        Format::Text => text(&identity, &findings),
    };
    Ok((report, findings.hold()))
}

/// Arguments are no place for secrets (proc(5)).
fn has_password(url: &SecretString) -> bool {
    Url::parse(url.expose_secret()).is_ok_and(|url| {
        url.password().is_some() || url.query_pairs().any(|(name, _)| name.eq_ignore_ascii_case("password"))
    })
}

fn json(identity: &ClusterIdentity, findings: &Findings) -> anyhow::Result<String> {
    let report = Report {
        region: identity.region.as_str(),
        installation: &identity.installation,
        epoch: &identity.epoch,
        holds: findings.hold(),
        findings,
    };
    Ok(serde_json::to_string_pretty(&report)?)
}

fn text(identity: &ClusterIdentity, findings: &Findings) -> String {
    let rows: u64 = findings.rows.iter().map(|table| table.rows).sum();
    let mut text = format!(
        "The store of {}.{}: {rows} rows in {} tables.\n\
         {} sealed values open in their places; {} of deleted organizations cannot be opened any more.\n\
         {} data keys unwrap. {} audit chains, {} records.",
        identity.region,
        identity.installation,
        findings.rows.len(),
        findings.sealed_opened,
        findings.sealed_destroyed,
        findings.data_keys,
        findings.chains,
        findings.audit_records
    );
    // Writing to a String cannot fail.
    for problem in &findings.problems {
        let row = if problem.row.is_empty() { String::new() } else { format!(" {}", problem.row) };
        let _ = write!(text, "\n  {}{row}: {}", problem.table, problem.problem);
    }
    let _ = match findings.problem_count {
        0 => write!(text, "\nEverything holds."),
        count if count > findings.problems.len() as u64 => {
            write!(text, "\n{count} problems, of which the first {} are shown.", findings.problems.len())
        }
        count => write!(text, "\n{count} problems."),
    };
    text
}

#[cfg(test)]
pub(crate) mod tests;
