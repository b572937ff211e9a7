//! `bailiwick region trust`, and waiting until every process of the region knows a version of it.

use std::time::Duration;

use bailiwick_domain::time::{Clock, SystemClock};
use bailiwick_proto::admin::v1::{
    GetTrustRequest, GetTrustResponse, Revocation, RevokeCertificateRequest, TrustingProcess,
};

use crate::{
    connection::{Connection, request},
    failure::Failure,
    output::{Output, Record, Value},
};

const POLL: Duration = Duration::from_millis(250);

/// Shows what is revoked, and what each connected process has applied.
pub(super) async fn show(connection: &Connection, output: &Output) -> Result<(), Failure> {
    let trust = fetch(connection).await?;
    let processes = trust
        .processes
        .iter()
        .map(|process| format!("{} {}: version {}", process.role, process.name, process.version));
    let revoked = trust.revocations.iter().map(|Revocation { role, name, .. }| format!("{role} {name}"));
    output.one(
        &Record::default()
            .count("version", trust.version)
            .with("revoked", Value::List(revoked.collect()))
            .with("processes", Value::List(processes.collect())),
    );
    Ok(())
}

/// Shuts out whoever holds a certificate of this operator or service.
pub(super) async fn revoke_certificate(
    connection: &Connection,
    role: &str,
    name: String,
    output: &Output,
) -> Result<(), Failure> {
    let message = RevokeCertificateRequest { role: role.to_owned(), name: name.clone() };
    let version = connection.trust().revoke_certificate(request(message)).await?.into_inner().version;
    output.one(&Record::default().text("role", role).text("name", name).count("version", version));
    output.note("certificates of this name that are issued from now on are good");
    Ok(())
}

/// Polls until every connected process has applied a version, or the time is over. Gives those that have not.
pub(super) async fn until_known(
    connection: &Connection,
    version: u64,
    timeout: Duration,
    output: &Output,
) -> Result<Vec<String>, Failure> {
    let started = SystemClock.now();
    loop {
        let unaware = unaware(&fetch(connection).await?.processes, version);
        if unaware.is_empty() || SystemClock.now().saturating_since(started) >= timeout {
            for process in &unaware {
                output.note(&format!("not applied: {process}"));
            }
            return Ok(unaware);
        }
        tokio::time::sleep(POLL).await;
    }
}

fn unaware(processes: &[TrustingProcess], version: u64) -> Vec<String> {
    let behind = processes.iter().filter(|process| process.version < version);
    behind
        .map(|process| format!("{} {} (at version {})", process.role, process.name, process.version))
        .collect()
}

async fn fetch(connection: &Connection) -> Result<GetTrustResponse, Failure> {
    Ok(connection.trust().get_trust(request(GetTrustRequest {})).await?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_not_heard_of_it_is_named() {
        let process = |name: &str, version| TrustingProcess {
            name: name.to_owned(),
            role: "worker".to_owned(),
            version,
            ..TrustingProcess::default()
        };
        let processes = [process("a", 7), process("b", 6), process("c", 0)];
        assert_eq!(unaware(&processes, 7), ["worker b (at version 6)", "worker c (at version 0)"]);
        assert!(unaware(&[], 7).is_empty());
    }
}
