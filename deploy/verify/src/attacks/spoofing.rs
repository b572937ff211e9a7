//! 10: requests that claim to belong elsewhere: by `Host`, SNI, `Forwarded`, `X-Forwarded-*` and headers that name a region.
//!
//! A key alone says where a request belongs. So a foreign key stays foreign whatever else is claimed, and a key of this region is served here.

use async_trait::async_trait;
use http::Uri;
use rustls::AlertDescription;
use secrecy::ExposeSecret as _;

use super::{
    keys::{completion, sent_home, try_router},
    layer,
};
use crate::{
    attack::{Attack, Pair},
    attempt::{Attempt, Probe},
    knock::{Knock, Speaks, knock_for},
    web::{Answer, Ask},
};

/// Digits of a root's fingerprint in the name that asks for it.
const HINT_DIGITS: usize = 32;

pub(super) struct Spoofing;

/// What a request claims, and how.
type Claim = (&'static str, Vec<(&'static str, String)>);

#[async_trait]
impl Attack for Spoofing {
    fn number(&self) -> u8 {
        10
    }

    fn name(&self) -> &'static str {
        "spoofed Host, SNI, Forwarded and region headers"
    }

    async fn run(&self, pair: Pair<'_>) -> Vec<Attempt> {
        let foreign = completion(pair.attacker.account.key.expose_secret());
        let own = Ask::get("/v1/models").bearer(pair.target.account.key.expose_secret());
        let served =
            |answer: &Answer| answer.status.as_u16() == 200 && answer.worker_of() == pair.target.name();
        let mut attempts = Vec::new();
        for (what, claims) in claims(pair) {
            let spoofed =
                |ask: &Ask| claims.iter().fold(ask.clone(), |ask, (name, value)| ask.with(name, value));
            let expected = "421 wrong_region by the router itself";
            let probe = Probe::new(format!("a foreign key with {what}"), layer::ROUTER, expected);
            attempts
                .push(try_router(probe, pair, &spoofed(&foreign), |answer| sent_home(answer, pair)).await);
            let expected = "served here, by a worker of this region";
            let probe = Probe::new(format!("a key of this region with {what}"), layer::ROUTER, expected);
            attempts.push(try_router(probe, pair, &spoofed(&own), served).await);
        }
        attempts.extend(targets(pair, &foreign).await);
        attempts.extend(server_names(pair).await);
        attempts
    }
}

/// Claims that the request belongs to the other region, or (for a foreign key) to this one.
fn claims(pair: Pair<'_>) -> Vec<Claim> {
    let Pair { attacker, target } = pair;
    let there = authority(attacker.access.router.as_deref());
    let here = authority(target.access.router.as_deref());
    let one = |name: &'static str, value: &str| vec![(name, value.to_owned())];
    vec![
        ("the Host of the other region's router", one("host", &there)),
        (
            "Forwarded (RFC 7239) from and for the other region",
            one("forwarded", &format!("for=127.0.0.1;host={there};proto=https")),
        ),
        (
            "X-Forwarded-Host, -For, -Proto and X-Real-IP of the other region",
            vec![
                ("x-forwarded-host", there.clone()),
                ("x-forwarded-for", "127.0.0.1".to_owned()),
                ("x-forwarded-proto", "https".to_owned()),
                ("x-real-ip", "127.0.0.1".to_owned()),
            ],
        ),
        ("x-bailiwick-region naming the other region", one("x-bailiwick-region", attacker.name())),
        (
            "Host, X-Forwarded-Host and x-bailiwick-region naming this region",
            vec![
                ("host", here.clone()),
                ("x-forwarded-host", here),
                ("x-bailiwick-region", target.name().to_owned()),
            ],
        ),
        (
            "x-bailiwick-home-endpoint and x-bailiwick-request-id of the other region",
            vec![
                ("x-bailiwick-home-endpoint", format!("https://{there}/")),
                ("x-bailiwick-request-id", "req_00000000000000000000000000000000".to_owned()),
            ],
        ),
    ]
}

/// The request line and the TLS handshake claim things too.
async fn targets(pair: Pair<'_>, foreign: &Ask) -> Vec<Attempt> {
    let there = authority(pair.attacker.access.router.as_deref());
    let here = authority(pair.target.access.router.as_deref());
    let expected = "421 wrong_region by the router itself";
    let mut attempts = Vec::new();
    for (whose, authority) in [("the other region's", &there), ("this region's", &here)] {
        let what = format!("a foreign key, the request line naming {whose} router as a whole URL");
        let probe = Probe::new(what, layer::ROUTER, expected);
        let ask = Ask { target: format!("http://{authority}/v1/chat/completions"), ..foreign.clone() };
        attempts.push(try_router(probe, pair, &ask, |answer| sent_home(answer, pair)).await);
    }
    let probe = Probe::new("a foreign key, the other region's router as SNI", layer::ROUTER, expected);
    if pair.target.access.router.as_deref().is_some_and(|url| url.starts_with("https:")) {
        let host = there.rsplit_once(':').map_or(there.as_str(), |(host, _port)| host);
        let ask = Ask { sni: Some(host.to_owned()), ..foreign.clone() };
        attempts.push(try_router(probe, pair, &ask, |answer| sent_home(answer, pair)).await);
    } else {
        attempts.push(probe.not_attempted("the router serves no TLS: http is all there is"));
    }
    attempts
}

/// By the server's name a client says under which root it will verify, see `bailiwick_runtime::identity`. Whatever root it names, it is admitted under
/// this region's alone.
async fn server_names(pair: Pair<'_>) -> Vec<Attempt> {
    let Pair { attacker, target } = pair;
    let root: String = attacker.operator.root_fingerprint().to_string();
    let digits: String = root.chars().filter(char::is_ascii_hexdigit).take(HINT_DIGITS).collect();
    let name = format!("{digits}.root.bailiwick.invalid");
    let worker = attacker.worker.as_ref().map(|worker| &worker.badge).map_err(String::as_str);
    let admin =
        (Some(target.access.admin.as_str()), "operator", Ok(&attacker.operator_badge), layer::ADMIN_TLS);
    let processes = (target.access.processes.as_deref(), "worker", worker, layer::PROCESS_TLS);
    let mut attempts = Vec::new();
    for (address, whose, badge, layer) in [admin, processes] {
        let what = format!("the other region's {whose}, naming the other region's root as SNI");
        let probe = Probe::new(what, layer, "TLS alert CertificateUnknown");
        attempts.push(match (address, badge) {
            (None, _) => probe.not_attempted("the context names no such address"),
            (_, Err(why)) => probe.not_attempted(why),
            (Some(address), Ok(badge)) => {
                match knock_for(address, Some(&name), Some(badge), Speaks::Grpc).await {
                    Knock::Nobody(why) => probe.unanswered(why),
                    answer => {
                        let refused = answer == Knock::Alert(AlertDescription::CertificateUnknown);
                        probe.expect(refused, answer.to_string())
                    }
                }
            }
        });
    }
    attempts
}

/// `host:port` of a URL. Something else where there is none: it is only claimed.
fn authority(url: Option<&str>) -> String {
    let uri = url.and_then(|url| url.parse::<Uri>().ok());
    let authority = uri.as_ref().and_then(Uri::authority);
    authority.map_or_else(|| "elsewhere.invalid".to_owned(), ToString::to_string)
}
