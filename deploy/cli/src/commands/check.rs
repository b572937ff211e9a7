//! `bailiwick check`: a region from certificate to router, each step only when the one before it makes sense.

mod prices;
mod router;

use std::time::Duration;

use bailiwick_domain::time::{Clock, SystemClock, Timestamp};
use bailiwick_proto::admin::v1::{GetRegionRequest, GetRegionResponse, Worker, WorkerState};
use bailiwick_runtime::identity::Identity;
use tokio::net::TcpStream;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::worker;
use crate::{
    certificate::Certificate,
    checklist::{Checklist, Finding},
    connection::{Connection, connector, identity, request},
    contexts::Context,
    failure::{Exit, Failure},
    output::Output,
    when::{relative, short},
};

const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// What expires is compared across machines: clocks further apart make it end early or late.
const SKEW: Duration = Duration::from_secs(2);
/// A root is replaced by people, who need time.
const CA_NOTICE: Duration = Duration::from_secs(30 * 86_400);

pub(super) async fn run(context: &Context, output: &Output) -> Exit {
    let mut list = Checklist::new(output);
    output.line(&format!("{} (context {}, {})\n", context.region, context.name, context.admin));
    checks(context, &mut list).await;
    list.finish()
}

async fn checks(context: &Context, list: &mut Checklist<'_>) {
    list_certificate(context, list);
    let identity = match identity(context) {
        Ok(identity) => identity,
        Err(failure) => {
            list.check("identity", Err(advice(failure)));
            return;
        }
    };
    list.check("identity", Ok(identity.spiffe_id().to_string()));
    if !list.check("admin address answers (TCP)", tcp(&context.admin).await)
        || !list.check("mutual TLS, and the region's identity", tls(&identity, &context.admin).await)
    {
        return;
    }
    let Ok(connection) = Connection::open(context).await else { return };
    list.check("gRPC health", health(&connection).await);
    let asked = SystemClock.now();
    let answer = connection.region().get_region(request(GetRegionRequest {})).await;
    let answered = SystemClock.now();
    let region = match answer {
        Ok(region) => region.into_inner(),
        Err(status) => {
            list.check("region", Err(advice(status.into())));
            return;
        }
    };
    list.check("region's name", name(&region, context));
    list.check("region's certificate authority", authority(&region, &identity));
    list.check("clocks agree", skew(&region, asked, answered));
    list.check("certificate authority's end", authority_end(&region, answered));
    let workers = match worker::list(&connection).await {
        Ok(workers) => workers,
        Err(failure) => {
            list.check("workers", Err(advice(failure)));
            return;
        }
    };
    check_workers(list, &workers, Timestamp::from_micros(region.now_micros));
    prices::check(&connection, list).await;
    router::check(context, &workers, list).await;
}

/// A failure as a finding.
pub(super) fn advice(failure: Failure) -> (String, String) {
    (failure.message, failure.hint.unwrap_or_default())
}

/// Files and dates, before anything is dialled.
pub(super) fn list_certificate(context: &Context, list: &mut Checklist<'_>) {
    let hint = || "an operator's certificate is issued with the program bailiwick-control-plane".to_owned();
    for (check, file) in [("certificate authority's file", "ca.pem"), ("certificate", "cert.pem")] {
        let finding = Certificate::read(&context.identity.join(file))
            .map_err(|problem| (problem, hint()))
            .and_then(|certificate| dates(&certificate, SystemClock.now()));
        list.check(check, finding);
    }
    let key = context.identity.join("key.pem");
    let finding = match std::fs::metadata(&key) {
        Ok(metadata) if metadata.len() > 0 => Ok(key.display().to_string()),
        Ok(_) => Err((format!("{} is empty", key.display()), hint())),
        Err(error) => Err((format!("cannot read {}: {error}", key.display()), hint())),
    };
    list.check("private key's file", finding);
}

/// Valid, and with a tenth of its time (at most a week) left.
fn dates(certificate: &Certificate, now: Timestamp) -> Finding {
    let ends = relative(certificate.not_after, now);
    let text = format!("{}, ends {ends}", certificate.name);
    let notice = certificate.not_after.saturating_since(certificate.not_before) / 10;
    let notice = notice.min(Duration::from_secs(7 * 86_400));
    let left = certificate.not_after.saturating_since(now);
    let renew = || "issue a new one with the control plane's program".to_owned();
    if certificate.not_before > now {
        return Err((format!("{text}; it is not valid yet"), "is this machine's clock right?".to_owned()));
    }
    match left {
        Duration::ZERO => Err((format!("{text}; it has ended"), renew())),
        left if left < notice => Err((format!("{text}: soon"), renew())),
        _ => Ok(text),
    }
}

/// Whether anybody listens.
pub(super) async fn tcp(address: &str) -> Finding {
    let hint = || format!("does the control plane run, and may this machine reach {address}?");
    match tokio::time::timeout(DIAL_TIMEOUT, TcpStream::connect(address)).await {
        Ok(Ok(_stream)) => Ok(address.to_owned()),
        Ok(Err(error)) => Err((format!("{address}: {error}"), hint())),
        Err(_elapsed) => Err((format!("{address}: no answer in {}", short(DIAL_TIMEOUT)), hint())),
    }
}

/// Whether whoever listens is the control plane of the context's region.
pub(super) async fn tls(identity: &Identity, address: &str) -> Finding {
    let hint = || {
        "the certificate there must be a control plane's of this region and installation, under the context's ca.pem".to_owned()
    };
    let connector = connector(identity).map_err(advice)?;
    let addresses = tokio::net::lookup_host(address).await.map_err(|error| (error.to_string(), hint()))?;
    let mut finding = Err((format!("{address} resolves to no address"), hint()));
    for candidate in addresses {
        match connector.connect(candidate).await {
            Ok(_stream) => return Ok(format!("a control plane of {}", identity.trust_domain())),
            Err(error) => finding = Err((error.to_string(), hint())),
        }
    }
    finding
}

async fn health(connection: &Connection) -> Finding {
    let message = HealthCheckRequest { service: String::new() };
    let answer = HealthClient::new(connection.api.clone()).check(request(message)).await;
    match answer.map(|answer| answer.into_inner().status()) {
        Ok(ServingStatus::Serving) => Ok("serving".to_owned()),
        Ok(other) => Err((other.as_str_name().to_lowercase(), "see the control plane's log".to_owned())),
        Err(status) => Err(advice(status.into())),
    }
}

fn name(region: &GetRegionResponse, context: &Context) -> Finding {
    let (name, installation) = (context.region.as_str(), &context.installation);
    if region.name == name && region.installation == *installation {
        return Ok(format!(
            "{name} ({}), installation {installation}, revision {}",
            region.code, region.revision
        ));
    }
    let found = format!("{} of installation {}", region.name, region.installation);
    Err((found, format!("the context says {name} of installation {installation}: correct it")))
}

fn authority(region: &GetRegionResponse, identity: &Identity) -> Finding {
    let ours = identity.root_fingerprint().to_string();
    if region.ca_fingerprint == ours {
        return Ok(ours);
    }
    let hint = format!("the context's ca.pem has {ours}: replace it and the certificate");
    Err((format!("the region's is {}", region.ca_fingerprint), hint))
}

/// The server's time against the middle of the request, give or take half of it.
fn skew(region: &GetRegionResponse, asked: Timestamp, answered: Timestamp) -> Finding {
    let server = Timestamp::from_micros(region.now_micros);
    let apart = server.saturating_since(answered).max(asked.saturating_since(server));
    let text = format!("{} apart", short(apart));
    if apart <= SKEW {
        Ok(text)
    } else {
        Err((text, "set this machine's or the server's clock by NTP".to_owned()))
    }
}

fn authority_end(region: &GetRegionResponse, now: Timestamp) -> Finding {
    let end = Timestamp::from_micros(region.ca_expires_at_micros);
    let text = format!("ends {}", relative(end, now));
    if end.saturating_since(now) >= CA_NOTICE {
        Ok(text)
    } else {
        Err((text, "plan its replacement now".to_owned()))
    }
}

fn check_workers(list: &mut Checklist<'_>, all: &[Worker], now: Timestamp) {
    let workers: Vec<&Worker> = all.iter().filter(|worker| worker.role == "worker").collect();
    let named = |found: Vec<String>| found.join(", ");
    let unready = workers.iter().filter(|worker| worker.state() != WorkerState::Ready);
    let unready: Vec<String> = unready.map(|w| format!("{} is {}", w.name, worker::state(w))).collect();
    let ready = workers.len() - unready.len();
    list.check(
        "workers are ready",
        match (ready, unready.is_empty()) {
            (0, true) => {
                Err(("there is none".to_owned(), "bailiwick region join-token --role worker".to_owned()))
            }
            (_, true) => Ok(format!("{ready} of {}", workers.len())),
            (_, false) => Err((
                format!("{ready} of {}: {}", workers.len(), named(unready)),
                "see its log; one that is gone for good: bailiwick worker revoke".to_owned(),
            )),
        },
    );
    // An absent worker's lag says nothing; that it is absent was said.
    let present = || workers.iter().filter(|worker| worker.state() != WorkerState::Absent);
    let behind: Vec<String> =
        present().filter(|worker| worker.lag > 0).map(|w| format!("{} by {}", w.name, w.lag)).collect();
    list.check(
        "workers act on the latest revision",
        if behind.is_empty() {
            Ok(String::new())
        } else {
            Err((
                format!("behind: {}", named(behind)),
                "again in a moment; then see bailiwick worker status".to_owned(),
            ))
        },
    );
    let ended: Vec<String> = all
        .iter()
        .filter(|worker| worker.state() != WorkerState::Absent)
        .filter(|worker| Timestamp::from_micros(worker.certificate_expires_at_micros) <= now)
        .map(|worker| worker.name.clone())
        .collect();
    list.check(
        "workers' certificates",
        if ended.is_empty() {
            Ok("valid".to_owned())
        } else {
            Err((format!("ended: {}", named(ended)), "they renew by themselves: see their logs".to_owned()))
        },
    );
}

#[cfg(test)]
mod tests;
