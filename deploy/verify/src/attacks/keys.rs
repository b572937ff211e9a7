//! 1: a foreign API key, at the router and directly at a worker.

use std::net::SocketAddr;

use async_trait::async_trait;
use bailiwick_domain::{
    key::{ApiKey, KeyId},
    spiffe::ProcessRole,
};
use bailiwick_runtime::identity::Connector;
use secrecy::ExposeSecret as _;

use super::layer;
use crate::{
    armed::Armed,
    attack::{Attack, Pair},
    attempt::{Attempt, Probe},
    web::{self, Answer, Ask, Sends, WAITS_FOR_THE_BODY},
};

pub(super) struct Keys;

#[async_trait]
impl Attack for Keys {
    fn number(&self) -> u8 {
        1
    }

    fn name(&self) -> &'static str {
        "a foreign API key"
    }

    async fn run(&self, pair: Pair<'_>) -> Vec<Attempt> {
        let mut attempts = at_router(pair).await;
        attempts.extend(at_workers(pair).await);
        attempts
    }
}

/// A call with this key, its body held back.
pub(super) fn completion(key: &str) -> Ask {
    Ask::post("/v1/chat/completions", Sends::HeldBack).bearer(key)
}

/// 421 from the router itself: no worker has heard of it.
pub(super) fn sent_home(answer: &Answer, pair: Pair<'_>) -> bool {
    answer.status.as_u16() == 421
        && answer.code() == "wrong_region"
        && answer.worker_of().is_empty()
        && answer.mentions(pair.attacker.name())
}

async fn at_router(pair: Pair<'_>) -> Vec<Attempt> {
    let real = pair.attacker.account.key.expose_secret().to_owned();
    let unknown = ApiKey::generate(pair.attacker.code);
    let renamed = ApiKey::generate(pair.target.code);
    let expected = "421 wrong_region by the router itself, before any of the body";
    let foreign = [("a valid key", real.as_str()), ("a key that nobody has", unknown.expose())];
    let mut attempts = Vec::new();
    for (what, key) in foreign {
        let probe = Probe::new(format!("{what} of the other region, at the router"), layer::ROUTER, expected);
        attempts.push(try_router(probe, pair, &completion(key), |answer| sent_home(answer, pair)).await);
    }
    // The prefix is only text: what makes a key this region's is its digest.
    let expected = "401 invalid_api_key by a worker";
    let probe = Probe::new("a made-up key that claims to be of this region", layer::WORKER_KEY, expected);
    let refused = |answer: &Answer| {
        answer.status.as_u16() == 401
            && answer.code() == "invalid_api_key"
            && answer.worker_of() == pair.target.name()
    };
    attempts.push(try_router(probe, pair, &completion(renamed.expose()), refused).await);
    // An identifier is no secret: it stands in lists and records.
    let what = "a key of this region's own identifier, with another secret";
    let probe = Probe::new(what, layer::WORKER_KEY, expected);
    attempts.push(match pair.target.account.key_id.parse::<KeyId>() {
        Ok(id) => try_router(probe, pair, &completion(ApiKey::with_id(id).expose()), refused).await,
        Err(error) => probe.not_attempted(error.to_string()),
    });
    attempts
}

/// Asks the target's router, where there is one.
pub(super) async fn try_router(
    probe: Probe,
    pair: Pair<'_>,
    ask: &Ask,
    as_documented: impl Fn(&Answer) -> bool,
) -> Attempt {
    let Some(router) = &pair.target.access.router else {
        return probe.not_attempted("the context names no router");
    };
    match web::ask(router, ask).await {
        Ok(answer) => probe.expect(as_documented(&answer), answer.to_string()),
        Err(problem) if problem == WAITS_FOR_THE_BODY => probe.expect(false, problem),
        Err(problem) => probe.unanswered(problem),
    }
}

/// Workers answer to their own region's routers and operators only. So it is the target's own operator who presents the foreign key.
async fn at_workers(pair: Pair<'_>) -> Vec<Attempt> {
    let expected = "421 wrong_region by the worker, before any of the body";
    let probe = || Probe::new("a valid key of the other region, at a worker", layer::WORKER_REGION, expected);
    let addresses: Vec<&str> = addresses(pair.target).collect();
    if addresses.is_empty() {
        return vec![probe().not_attempted("the region lists no worker with an address")];
    }
    let mut attempts = Vec::new();
    for address in addresses {
        let probe = probe();
        attempts.push(match ask_worker(pair, address).await {
            Ok(answer) => {
                let refused = answer.status.as_u16() == 421
                    && answer.code() == "wrong_region"
                    && answer.worker_of() == pair.target.name()
                    && answer.mentions(pair.attacker.name());
                probe.expect(refused, answer.to_string())
            }
            Err(problem) => probe.unanswered(problem),
        });
    }
    attempts
}

/// Where the region's workers listen.
pub(super) fn addresses(region: &Armed) -> impl Iterator<Item = &str> {
    let workers = region.fleet.iter().filter(|process| process.role == ProcessRole::Worker.as_str());
    workers.map(|worker| worker.advertise_address.as_str()).filter(|address| !address.is_empty())
}

async fn ask_worker(pair: Pair<'_>, address: &str) -> Result<Answer, String> {
    let connector = Connector::new(pair.target.operator.clone(), ProcessRole::Worker);
    let connector = connector.map_err(|error| error.to_string())?;
    let mut found = tokio::net::lookup_host(address).await.map_err(|error| error.to_string())?;
    let socket: SocketAddr = found.next().ok_or_else(|| format!("{address} resolves to no address"))?;
    let stream = connector.connect(socket).await.map_err(|error| error.to_string())?;
    web::over(stream, address, &completion(pair.attacker.account.key.expose_secret())).await
}
