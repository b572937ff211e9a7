//! `bailiwick region authority` and `bailiwick region rotate-authority`.

use std::time::Duration;

use bailiwick_domain::time::{Clock, SystemClock, Timestamp};
use bailiwick_proto::admin::v1::{
    Authority, AuthorityStage, GetTrustRequest, RemainingCertificate, RotateAuthorityRequest,
};

use crate::{
    connection::{Connection, request},
    failure::{Exit, Failure},
    output::{Output, Record, Value},
    when::relative,
};

const POLL: Duration = Duration::from_millis(250);

pub(super) async fn show(connection: &Connection, output: &Output) -> Result<(), Failure> {
    let authority = fetch(connection, output).await?;
    output.one(&record(&authority));
    explain(&authority, output);
    Ok(())
}

/// Begins a change, or goes on with the one that is under way.
pub(super) async fn rotate(
    connection: &Connection,
    force: bool,
    timeout: Option<Duration>,
    output: &Output,
) -> Result<Exit, Failure> {
    connection.trust().rotate_authority(request(RotateAuthorityRequest { force })).await?;
    let started = SystemClock.now();
    let mut said = None;
    loop {
        let authority = fetch(connection, output).await?;
        let over = is_over(&authority);
        let out_of_time =
            timeout.is_none_or(|timeout| SystemClock.now().saturating_since(started) >= timeout);
        if over || out_of_time {
            output.one(&record(&authority));
            explain(&authority, output);
            return Ok(if over || timeout.is_none() { Exit::Done } else { Exit::Failed });
        }
        if said != Some(authority.stage()) {
            output.note(&format!("stage: {}", stage(&authority)));
            said = Some(authority.stage());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Nothing is left that goes on by itself within minutes.
fn is_over(authority: &Authority) -> bool {
    let waits_for_people = authority.stage() == AuthorityStage::Issuing
        && authority.remaining.iter().all(|held| matches!(held.role.as_str(), "operator" | "service"));
    authority.stage() == AuthorityStage::Settled || waits_for_people
}

/// What the control plane trusts, this context trusts too from then on: its answer came over a connection that a present root authenticates.
async fn fetch(connection: &Connection, output: &Output) -> Result<Authority, Failure> {
    let trust = connection.trust().get_trust(request(GetTrustRequest {})).await?.into_inner();
    let identity = connection.identity.as_ref();
    match identity.map(|identity| identity.trust(&trust.roots_pem)) {
        Some(Ok(true)) => output.note("ca.pem of this context holds the region's present roots now"),
        Some(Ok(false)) | None => {}
        Some(Err(error)) => output.note(&format!("ca.pem of this context stays as it is: {error}")),
    }
    Ok(trust.authority.unwrap_or_default())
}

fn stage(authority: &Authority) -> &'static str {
    match authority.stage() {
        AuthorityStage::Unspecified => "unknown",
        AuthorityStage::Settled => "settled",
        AuthorityStage::Distributing => "distributing",
        AuthorityStage::Issuing => "issuing",
    }
}

fn record(authority: &Authority) -> Record {
    let now = SystemClock.now();
    let remaining =
        authority.remaining.iter().map(|RemainingCertificate { role, name, expires_at_micros }| {
            format!("{role} {name} (ends {})", relative(Timestamp::from_micros(*expires_at_micros), now))
        });
    Record::default()
        .text("stage", stage(authority))
        .text("issuing_root", &authority.issuing_root)
        .text("standby_root", &authority.standby_root)
        .with("unaware", Value::List(authority.unaware.clone()))
        .with("remaining", Value::List(remaining.collect()))
}

fn explain(authority: &Authority, output: &Output) {
    match authority.stage() {
        AuthorityStage::Distributing => {
            output.note("waits until every connected process trusts the second root; --force does not wait");
        }
        AuthorityStage::Issuing if !authority.remaining.is_empty() => output.note(
            "waits until these certificates have ended: issue them anew with `bailiwick-control-plane issue-certificate`, then --force shuts the old ones out",
        ),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_over_for_now_when_it_waits_for_people_only() {
        let at = |stage: AuthorityStage, roles: &[&str]| Authority {
            stage: stage.into(),
            remaining: roles
                .iter()
                .map(|role| RemainingCertificate {
                    role: (*role).to_owned(),
                    ..RemainingCertificate::default()
                })
                .collect(),
            ..Authority::default()
        };
        assert!(is_over(&at(AuthorityStage::Settled, &[])));
        assert!(is_over(&at(AuthorityStage::Issuing, &["operator", "service"])));
        assert!(!is_over(&at(AuthorityStage::Issuing, &["operator", "worker"])));
        assert!(!is_over(&at(AuthorityStage::Distributing, &[])));
    }
}
