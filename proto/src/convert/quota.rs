//! What workers and control plane tell each other about leases. All that is said here is of one region: a foreign identifier makes its message fail.

use std::str::FromStr;

use bailiwick_domain::{
    id::{DeploymentId, ModelId, OrganizationId},
    jurisdiction::{Jurisdiction, Local, Regional},
    key::KeyId,
    time::Timestamp,
};
use bailiwick_quota::{
    limit::{Account, LimitId},
    protocol::{
        Consumed, Exchange, FromHolder, Hello, HolderId, Lease, Leases, MAX_REPORTS, MAX_SETTLED,
        MAX_SUPERSEDED, Report, Settlement, ToHolder,
    },
    window::Window,
};

use super::{ConvertError, invalid};
use crate::worker::v1::{self as wire, exchange_request, exchange_response};

/// Leases of one message: what one holder is told at once goes in several, which it hears as one after the other.
pub const MAX_LEASES: usize = 10_000;

/// A worker's message for the wire. Accounts of members have no form there, as limits of members have none.
pub fn from_holder_to_wire(message: &FromHolder) -> wire::ExchangeRequest {
    let kind = match message {
        FromHolder::Hello(hello) => exchange_request::Kind::Hello(wire::QuotaHello {
            nonce: hello.nonce,
            supersedes: hello.supersedes.iter().map(|holder| holder.0).collect(),
        }),
        FromHolder::Exchange(exchange) => exchange_request::Kind::Demand(wire::QuotaDemand {
            holder: exchange.holder.0,
            sequence: exchange.sequence,
            leaving: exchange.leaving,
            reports: exchange.reports.iter().filter_map(report_to_wire).collect(),
        }),
        FromHolder::Settlement(settlement) => exchange_request::Kind::Settlement(wire::QuotaSettlement {
            holder: settlement.holder.0,
            used: settlement.used.iter().filter_map(consumed_to_wire).collect(),
        }),
    };
    wire::ExchangeRequest { kind: Some(kind) }
}

/// A worker's message from the wire: at most [`MAX_REPORTS`] reports, [`MAX_SUPERSEDED`] names, and [`MAX_SETTLED`] settled accounts.
pub fn from_holder_from_wire(
    jurisdiction: &Jurisdiction,
    message: &wire::ExchangeRequest,
) -> Result<FromHolder, ConvertError> {
    match message.kind.as_ref() {
        Some(exchange_request::Kind::Hello(hello)) => {
            within("hello.supersedes", hello.supersedes.len(), MAX_SUPERSEDED)?;
            let supersedes = hello.supersedes.iter().copied().map(HolderId).collect();
            Ok(FromHolder::Hello(Hello { nonce: hello.nonce, supersedes }))
        }
        Some(exchange_request::Kind::Demand(demand)) => {
            within("demand.reports", demand.reports.len(), MAX_REPORTS)?;
            let reports = demand.reports.iter().map(|report| report_from_wire(jurisdiction, report));
            Ok(FromHolder::Exchange(Exchange {
                holder: HolderId(demand.holder),
                sequence: demand.sequence,
                leaving: demand.leaving,
                reports: reports.collect::<Result<_, _>>()?,
            }))
        }
        Some(exchange_request::Kind::Settlement(settlement)) => {
            within("settlement.used", settlement.used.len(), MAX_SETTLED)?;
            let used = settlement.used.iter().map(|consumed| consumed_from_wire(jurisdiction, consumed));
            Ok(FromHolder::Settlement(Settlement {
                holder: HolderId(settlement.holder),
                used: used.collect::<Result<_, _>>()?,
            }))
        }
        None => Err(invalid("kind", "is missing")),
    }
}

/// The control plane's message for the wire: more than one, where there are more than [`MAX_LEASES`].
pub fn to_holder_to_wire(message: &ToHolder) -> Vec<wire::ExchangeResponse> {
    let kinds = match message {
        ToHolder::Welcome { nonce, holder } => {
            vec![exchange_response::Kind::Welcome(wire::QuotaWelcome { nonce: *nonce, holder: holder.0 })]
        }
        ToHolder::Unknown { holder } => {
            vec![exchange_response::Kind::Unknown(wire::QuotaUnknown { holder: holder.0 })]
        }
        ToHolder::Leases(leases) => leases_to_wire(leases),
        ToHolder::Settled { holder } => {
            vec![exchange_response::Kind::Settled(wire::QuotaSettled { holder: holder.0 })]
        }
    };
    kinds.into_iter().map(|kind| wire::ExchangeResponse { kind: Some(kind) }).collect()
}

fn leases_to_wire(leases: &Leases) -> Vec<exchange_response::Kind> {
    let part = |part: &[Lease]| {
        exchange_response::Kind::Leases(wire::QuotaLeases {
            holder: leases.holder.0,
            term: leases.term,
            answers: leases.answers,
            now_micros: leases.now.as_micros(),
            leases: part.iter().filter_map(lease_to_wire).collect(),
        })
    };
    // An answer without leases says that nothing has changed.
    if leases.leases.is_empty() {
        vec![part(&[])]
    } else {
        leases.leases.chunks(MAX_LEASES).map(part).collect()
    }
}

/// The control plane's message from the wire: at most [`MAX_LEASES`] leases.
pub fn to_holder_from_wire(
    jurisdiction: &Jurisdiction,
    message: &wire::ExchangeResponse,
) -> Result<ToHolder, ConvertError> {
    match message.kind.as_ref() {
        Some(exchange_response::Kind::Welcome(welcome)) => {
            Ok(ToHolder::Welcome { nonce: welcome.nonce, holder: HolderId(welcome.holder) })
        }
        Some(exchange_response::Kind::Unknown(unknown)) => {
            Ok(ToHolder::Unknown { holder: HolderId(unknown.holder) })
        }
        Some(exchange_response::Kind::Leases(message)) => {
            within("leases.leases", message.leases.len(), MAX_LEASES)?;
            let leases = message.leases.iter().map(|lease| lease_from_wire(jurisdiction, lease));
            Ok(ToHolder::Leases(Leases {
                holder: HolderId(message.holder),
                term: message.term,
                answers: message.answers,
                now: Timestamp::from_micros(message.now_micros),
                leases: leases.collect::<Result<_, _>>()?,
            }))
        }
        Some(exchange_response::Kind::Settled(settled)) => {
            Ok(ToHolder::Settled { holder: HolderId(settled.holder) })
        }
        None => Err(invalid("kind", "is missing")),
    }
}

/// An account for the wire. `None`: one of a member.
pub fn account_to_wire(account: &Account) -> Option<wire::QuotaAccount> {
    if account.member.is_some() {
        return None;
    }
    Some(wire::QuotaAccount {
        organization_id: account.limit.organization.to_string(),
        limit: account.limit.number,
        key_id: account.key.map(|key| key.to_string()).unwrap_or_default(),
        model_id: account.model.map(|model| model.to_string()).unwrap_or_default(),
        deployment_id: account.deployment.map(|deployment| deployment.to_string()).unwrap_or_default(),
    })
}

/// An account from the wire, all of it of this region.
pub fn account_from_wire(
    jurisdiction: &Jurisdiction,
    account: Option<&wire::QuotaAccount>,
) -> Result<Account, ConvertError> {
    let account = account.ok_or_else(|| invalid("account", "is missing"))?;
    let organization: Local<OrganizationId> =
        admit(jurisdiction, "account.organization_id", &account.organization_id)?;
    let key = Some(&account.key_id).filter(|id| !id.is_empty());
    let key = key.map(|id| admit::<KeyId>(jurisdiction, "account.key_id", id)).transpose()?;
    let model = Some(&account.model_id).filter(|id| !id.is_empty());
    let model = model.map(|id| admit::<ModelId>(jurisdiction, "account.model_id", id)).transpose()?;
    let deployment = Some(&account.deployment_id).filter(|id| !id.is_empty());
    let deployment =
        deployment.map(|id| admit::<DeploymentId>(jurisdiction, "account.deployment_id", id)).transpose()?;
    Ok(Account {
        limit: LimitId { organization: organization.into_inner(), number: account.limit },
        key: key.map(Local::into_inner),
        member: None,
        model: model.map(Local::into_inner),
        deployment: deployment.map(Local::into_inner),
    })
}

fn consumed_to_wire(consumed: &Consumed) -> Option<wire::QuotaConsumed> {
    Some(wire::QuotaConsumed {
        account: Some(account_to_wire(&consumed.account)?),
        window_starts_micros: consumed.window_starts.as_micros(),
        units: consumed.units,
    })
}

fn consumed_from_wire(
    jurisdiction: &Jurisdiction,
    consumed: &wire::QuotaConsumed,
) -> Result<Consumed, ConvertError> {
    Ok(Consumed {
        account: account_from_wire(jurisdiction, consumed.account.as_ref())?,
        window_starts: Timestamp::from_micros(consumed.window_starts_micros),
        units: consumed.units,
    })
}

fn report_to_wire(report: &Report) -> Option<wire::QuotaReport> {
    Some(wire::QuotaReport {
        account: Some(account_to_wire(&report.account)?),
        window_starts_micros: report.window_starts.as_micros(),
        opening: report.opening,
        extra_seen: report.extra_seen,
        consumed: report.consumed,
        held: report.held,
        returned: report.returned,
        urgent: report.urgent,
        demand: report.demand,
        standing_version: report.standing_version,
        recall: report.recall,
    })
}

fn report_from_wire(jurisdiction: &Jurisdiction, report: &wire::QuotaReport) -> Result<Report, ConvertError> {
    Ok(Report {
        account: account_from_wire(jurisdiction, report.account.as_ref())?,
        window_starts: Timestamp::from_micros(report.window_starts_micros),
        opening: report.opening,
        extra_seen: report.extra_seen,
        consumed: report.consumed,
        held: report.held,
        returned: report.returned,
        urgent: report.urgent,
        demand: report.demand,
        standing_version: report.standing_version,
        recall: report.recall,
    })
}

fn lease_to_wire(lease: &Lease) -> Option<wire::QuotaLease> {
    Some(wire::QuotaLease {
        account: Some(account_to_wire(&lease.account)?),
        window_starts_micros: lease.window.starts.as_micros(),
        window_ends_micros: lease.window.ends.as_micros(),
        amount: lease.amount,
        extra: lease.extra,
        standing: lease.standing,
        standing_version: lease.standing_version,
        keep: lease.keep,
        recall: lease.recall,
        exhausted: lease.exhausted,
        left: lease.left,
    })
}

fn lease_from_wire(jurisdiction: &Jurisdiction, lease: &wire::QuotaLease) -> Result<Lease, ConvertError> {
    let window = Window {
        starts: Timestamp::from_micros(lease.window_starts_micros),
        ends: Timestamp::from_micros(lease.window_ends_micros),
    };
    if window.starts >= window.ends {
        return Err(invalid("window_ends_micros", "is not after the window's start"));
    }
    Ok(Lease {
        account: account_from_wire(jurisdiction, lease.account.as_ref())?,
        window,
        amount: lease.amount,
        extra: lease.extra,
        standing: lease.standing,
        standing_version: lease.standing_version,
        keep: lease.keep,
        recall: lease.recall,
        exhausted: lease.exhausted,
        left: lease.left,
    })
}

/// Always: no attack of `bailiwick verify isolation` goes this way, so no build can go without it.
fn admit<T>(jurisdiction: &Jurisdiction, field: &'static str, text: &str) -> Result<Local<T>, ConvertError>
where
    T: FromStr<Err: ToString> + Regional,
{
    let id: T = text.parse().map_err(|error: T::Err| invalid(field, error))?;
    Ok(jurisdiction.admit(id)?)
}

fn within(field: &'static str, count: usize, most: usize) -> Result<(), ConvertError> {
    if count > most {
        return Err(invalid(field, format!("holds {count}, not at most {most}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
