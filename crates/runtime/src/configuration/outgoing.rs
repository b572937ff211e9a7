//! The sections about what leaves a process: how it resolves names, and where it tells about itself.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bailiwick_domain::{
    egress::{AdmittedHost, EgressPolicy, EgressRefused, EgressRule, Residency, Target},
    guard::Guard,
};
use serde::Deserialize;
use url::{Host, Url};

use super::{Checked, Problems, RegionSection};

const MOST_NAMESERVERS: usize = 8;
const DNS_PORT: u16 = 53;

/// `[resolver]`: how names of providers and of the telemetry's collector become addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolverSection {
    /// Empty: the system's.
    pub nameservers: Vec<SocketAddr>,
    /// For one question to one name server.
    pub timeout: Duration,
    /// An answer is kept for so long, even where it says less.
    pub min_ttl: Duration,
    /// An answer is kept no longer, even where it says more.
    pub max_ttl: Duration,
}

/// The same as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawResolverSection {
    #[serde(default)]
    nameservers: Vec<String>,
    timeout_ms: Option<u64>,
    min_ttl_seconds: Option<u64>,
    max_ttl_seconds: Option<u64>,
}

impl Checked for ResolverSection {
    type Raw = RawResolverSection;

    fn check(raw: RawResolverSection, problems: &mut Problems) -> Option<Self> {
        if raw.nameservers.len() > MOST_NAMESERVERS {
            problems.report("nameservers", format_args!("has more than {MOST_NAMESERVERS} entries"));
        }
        let servers: Option<Vec<SocketAddr>> = raw.nameservers.iter().map(|text| nameserver(text)).collect();
        if servers.is_none() {
            problems.report(
                "nameservers",
                "expected addresses, with or without a port, such as 10.0.0.2 or 10.0.0.2:53",
            );
        }
        let timeout = problems.within("timeout_ms", raw.timeout_ms.unwrap_or(2_000), 10..=60_000);
        let min = problems.within("min_ttl_seconds", raw.min_ttl_seconds.unwrap_or(1), 0..=3600);
        let max = problems.within("max_ttl_seconds", raw.max_ttl_seconds.unwrap_or(300), 1..=86_400);
        if min.zip(max).is_some_and(|(min, max)| min > max) {
            problems.report("min_ttl_seconds", "must not be over max_ttl_seconds");
        }
        Some(Self {
            nameservers: servers?,
            timeout: Duration::from_millis(timeout?),
            min_ttl: Duration::from_secs(min?),
            max_ttl: Duration::from_secs(max?),
        })
    }
}

fn nameserver(text: &str) -> Option<SocketAddr> {
    let alone = |address: IpAddr| SocketAddr::new(address, DNS_PORT);
    text.parse().ok().or_else(|| text.parse().ok().map(alone))
}

/// `[telemetry]`: what this process tells about itself, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetrySection {
    /// Which events are logged, as `tracing` filter directives; default `info`.
    pub log: String,
    /// Default: text on a terminal, JSON elsewhere.
    pub log_format: LogFormat,
    /// Where spans are sent (OTLP over gRPC); nothing is sent without it.
    pub collector: Option<Collector>,
}

/// Who collects spans: it answers in the region's own jurisdiction. Only the check of a configuration makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    host: AdmittedHost<'static>,
    port: u16,
    is_tls: bool,
}

impl Collector {
    /// Its name or address, and the proof that it may be dialled.
    pub fn host(&self) -> &AdmittedHost<'static> {
        &self.host
    }

    /// The scheme's default included.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is spoken to over TLS.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[telemetry]` as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTelemetrySection {
    log: Option<String>,
    #[serde(default)]
    log_format: LogFormat,
    otlp_endpoint: Option<Url>,
    /// Where collectors are, and in whose jurisdiction.
    #[serde(default)]
    allow: Vec<EgressRule>,
}

impl TelemetrySection {
    /// Of a process of `region`; `None` there means that the region's own section has a problem.
    pub fn check(
        raw: Option<RawTelemetrySection>,
        region: Option<&RegionSection>,
        problems: &mut Problems,
    ) -> Option<Self> {
        problems.nested("telemetry", |problems| {
            let raw = raw.unwrap_or_default();
            let log = raw.log.unwrap_or_else(|| "info".to_owned());
            let filter: Option<tracing_subscriber::EnvFilter> = problems.parse("log", &log);
            let home = region?.region().jurisdiction.clone();
            let policy =
                EgressPolicy::new(home, raw.allow).map_err(|error| problems.report("allow", error)).ok();
            let collector = match &raw.otlp_endpoint {
                Some(endpoint) => Some(collector(endpoint, &policy?, problems)?),
                None => None,
            };
            filter.map(|_| Self { log, log_format: raw.log_format, collector })
        })
    }
}

fn collector(endpoint: &Url, policy: &EgressPolicy, problems: &mut Problems) -> Option<Collector> {
    const KEY: &str = "otlp_endpoint";
    let (Some(host), Some(port), true) =
        (endpoint.host(), endpoint.port_or_known_default(), matches!(endpoint.scheme(), "http" | "https"))
    else {
        problems.report(KEY, "expected an http or https URL with a host");
        return None;
    };
    let host = match host {
        Host::Ipv6(address) => address.to_string(),
        other => other.to_string(),
    };
    let target = Target { host: &host.as_str().into(), path: "", model: "" };
    let admitted = policy.admit(&Residency::Region, target).and_then(|admitted| {
        if let Ok(address) = host.parse() {
            admitted.address(address)?;
        }
        Ok(admitted.into_owned())
    });
    let home = policy.home().map(ToString::to_string).unwrap_or_default();
    let admitted = if Guard::TelemetryCollector.stands() { admitted } else { anywhere(policy, target) };
    let host = admitted.map_err(|refused| problems.report(KEY, teach(&refused, &home))).ok()?;
    Some(Collector { host, port, is_tls: endpoint.scheme() == "https" })
}

/// As if a rule took the collector to be at home.
fn anywhere(policy: &EgressPolicy, target: Target<'_>) -> Result<AdmittedHost<'static>, EgressRefused> {
    let home = policy.home().ok_or(EgressRefused::Host)?;
    let pattern = target.host.parse().map_err(|_| EgressRefused::Host)?;
    let rule = EgressRule { pattern, jurisdiction: home.clone(), private_ranges: Vec::new() };
    let open = EgressPolicy::new(home.clone(), [rule]).map_err(|_| EgressRefused::Host)?;
    open.admit(&Residency::Region, target).map(AdmittedHost::into_owned)
}

/// Spans stay in the region like everything else.
fn teach(refused: &EgressRefused, home: &str) -> String {
    match refused {
        EgressRefused::Host | EgressRefused::Issuer | EgressRefused::NotListed => format!(
            "its host is in no rule of telemetry.allow; say where it lies, and it must be {home}: \
             allow = [{{ pattern = \"otel.example\", jurisdiction = \"{home}\" }}]"
        ),
        EgressRefused::Jurisdiction { found, .. } => format!(
            "its host answers from {found} as telemetry.allow says, and telemetry of this region stays in {home}"
        ),
        EgressRefused::Address(_) => {
            "its address is not a public one: allow its range with private_ranges of its rule in telemetry.allow".to_owned()
        }
    }
}
