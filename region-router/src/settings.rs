//! What the operator says in the router's configuration file.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use bailiwick_domain::address::AddressRange;
use bailiwick_runtime::{
    configuration::{
        Checked, ControlPlaneSection, IdentitySection, OpsSection, Problems, RawControlPlaneSection,
        RawIdentitySection, RawOpsSection, RawRegionSection, RawResolverSection, RawTelemetrySection,
        RegionSection, ResolverSection, TelemetrySection,
    },
    identity::CertificateFiles,
    serving::{ClientAddressFrom, HttpLimits, TrustedHops},
};
use serde::Deserialize;

/// Variables that start with this override the file.
pub(crate) const ENVIRONMENT: &str = "BAILIWICK_ROUTER_";
/// Ranges of what stands in front.
const MOST_TRUSTED_HOPS: usize = 100;

/// Everything that a router is told.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) region: RegionSection,
    pub(crate) control_plane: ControlPlaneSection,
    pub(crate) identity: IdentitySection,
    pub(crate) serve: ServeSection,
    /// Whether `POST /v1/signup` is passed on at all; the control plane decides in the end.
    pub(crate) signup: bool,
    pub(crate) drain: Duration,
    pub(crate) telemetry: TelemetrySection,
    pub(crate) resolver: ResolverSection,
    pub(crate) ops: OpsSection,
}

/// Where callers come in.
#[derive(Debug)]
pub(crate) struct ServeSection {
    pub(crate) listen: SocketAddr,
    /// Certificates of the names by which callers know the region. Empty: plain HTTP, because callers are on this machine or something in front
    /// of it terminates TLS.
    pub(crate) certificates: Vec<CertificateFiles>,
    /// Threads that serve; 0: one per processor.
    pub(crate) cores: usize,
    pub(crate) limits: HttpLimits,
    /// Who says where a call comes from.
    pub(crate) client_address_from: ClientAddressFrom,
    /// From the request's last byte to the first of the worker's answer. Longer than the workers' own bound, which answers better.
    pub(crate) response_timeout: Duration,
}

/// The same as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSettings {
    region: Option<RawRegionSection>,
    control_plane: Option<RawControlPlaneSection>,
    identity: Option<RawIdentitySection>,
    serve: Option<RawServe>,
    #[serde(default)]
    signup: RawSignup,
    #[serde(default)]
    drain: RawDrain,
    telemetry: Option<RawTelemetrySection>,
    resolver: Option<RawResolverSection>,
    ops: Option<RawOpsSection>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawServe {
    listen: Option<SocketAddr>,
    #[serde(default)]
    tls: Vec<RawCertificate>,
    #[serde(default)]
    allow_plain: bool,
    cores: Option<usize>,
    max_connections_per_core: Option<usize>,
    #[serde(default)]
    trusted_hops: Vec<String>,
    #[serde(default)]
    client_address_from: RawClientAddressFrom,
    response_timeout_ms: Option<u64>,
}

/// Whom to ask where a call comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawClientAddressFrom {
    #[default]
    Peer,
    Proxy,
    Forwarded,
    XForwardedFor,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCertificate {
    certificate: PathBuf,
    key: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSignup {
    #[serde(default)]
    enabled: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDrain {
    timeout_seconds: Option<u64>,
}

impl Checked for Settings {
    type Raw = RawSettings;

    fn check(raw: RawSettings, problems: &mut Problems) -> Option<Self> {
        let region = problems.section("region", raw.region);
        let control_plane = problems.section("control_plane", raw.control_plane);
        let identity = problems.section("identity", raw.identity);
        let serve = problems.section("serve", raw.serve);
        let telemetry = TelemetrySection::check(raw.telemetry, region.as_ref(), problems);
        let resolver = problems.section_or_default("resolver", raw.resolver);
        let ops = problems.section("ops", raw.ops);
        let drain = raw.drain.timeout_seconds.unwrap_or(30);
        let drain = problems.within("drain.timeout_seconds", drain, 0..=3600);
        Some(Self {
            region: region?,
            control_plane: control_plane?,
            identity: identity?,
            serve: serve?,
            signup: raw.signup.enabled,
            drain: Duration::from_secs(drain?),
            telemetry: telemetry?,
            resolver: resolver?,
            ops: ops?,
        })
    }
}

impl Checked for ServeSection {
    type Raw = RawServe;

    fn check(raw: RawServe, problems: &mut Problems) -> Option<Self> {
        let listen = problems.require("listen", raw.listen);
        if raw.tls.is_empty() && !raw.allow_plain && listen.is_some_and(|address| !address.ip().is_loopback())
        {
            problems.report(
                "tls",
                "keys and prompts would cross the network in the clear: name certificates with [[serve.tls]] certificate, key; or say \
                 allow_plain = true where something in front of this router terminates TLS",
            );
        }
        let cores = problems.within("cores", raw.cores.unwrap_or(0), 0..=1024);
        let limits = HttpLimits::default();
        let connections = raw.max_connections_per_core.unwrap_or(limits.max_connections);
        let connections = problems.within("max_connections_per_core", connections, 1..=1_000_000);
        let client_address_from = client_address_from(raw.client_address_from, &raw.trusted_hops, problems);
        let timeout =
            problems.within("response_timeout_ms", raw.response_timeout_ms.unwrap_or(300_000), 1..=3_600_000);
        Some(Self {
            listen: listen?,
            certificates: raw
                .tls
                .into_iter()
                .map(|RawCertificate { certificate, key }| CertificateFiles { certificate, key })
                .collect(),
            cores: cores?,
            limits: HttpLimits { max_connections: connections?, ..limits },
            client_address_from: client_address_from?,
            response_timeout: Duration::from_millis(timeout?),
        })
    }
}

/// Hops and what they say go together: believed from nobody, a header is worth nothing, and hops that say nothing are a mistake.
fn client_address_from(
    from: RawClientAddressFrom,
    hops: &[String],
    problems: &mut Problems,
) -> Option<ClientAddressFrom> {
    let key = "trusted_hops";
    let ranges: Option<Vec<AddressRange>> = hops.iter().map(|hop| problems.parse(key, hop)).collect();
    let ranges = ranges?;
    if ranges.len() > MOST_TRUSTED_HOPS {
        problems.report(key, format_args!("has over {MOST_TRUSTED_HOPS} ranges"));
    }
    if ranges.iter().any(AddressRange::is_everything) {
        problems.report(key, "holds every address: any caller would be believed about where it comes from");
    }
    let (is_peer, is_empty) = (from == RawClientAddressFrom::Peer, ranges.is_empty());
    if !is_peer && is_empty {
        problems.report(key, "is missing: list the addresses of what stands in front of this router");
    }
    if is_peer && !is_empty {
        problems.report(
            "client_address_from",
            "is missing: trusted hops say where a call comes from by \"forwarded\", \"x_forwarded_for\" or \"proxy\"",
        );
    }
    let hops = TrustedHops::new(ranges);
    Some(match from {
        RawClientAddressFrom::Peer => ClientAddressFrom::Peer,
        RawClientAddressFrom::Proxy => ClientAddressFrom::Proxy(hops),
        RawClientAddressFrom::Forwarded => ClientAddressFrom::Forwarded(hops),
        RawClientAddressFrom::XForwardedFor => ClientAddressFrom::XForwardedFor(hops),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(toml: &str) -> Result<ServeSection, Vec<String>> {
        let raw: RawServe = toml::from_str(toml).expect("readable");
        let mut problems = Problems::default();
        let checked = ServeSection::check(raw, &mut problems);
        let problems: Vec<String> = problems.into_list().iter().map(ToString::to_string).collect();
        checked.filter(|_checked| problems.is_empty()).ok_or(problems)
    }

    #[test]
    fn keys_and_prompts_cross_no_network_in_the_clear_unless_the_operator_says_so() {
        let problems = serve("listen = \"10.0.0.1:80\"").expect_err("refused");
        assert!(problems.iter().any(|problem| problem.contains("allow_plain")), "{problems:?}");
        serve("listen = \"127.0.0.1:8101\"").expect("on this machine");
        serve("listen = \"[::1]:8101\"").expect("on this machine");
        serve("listen = \"10.0.0.1:80\"\nallow_plain = true").expect("said so");
        let secured = serve("listen = \"0.0.0.0:443\"\n[[tls]]\ncertificate = \"a.pem\"\nkey = \"a.key\"");
        assert_eq!(secured.expect("secured").certificates.len(), 1);
    }

    #[test]
    fn nobody_is_believed_unless_the_operator_says_whom_and_by_what() {
        let with = |more: &str| serve(&format!("listen = \"127.0.0.1:8101\"\n{more}"));
        assert_eq!(with("").expect("the default").client_address_from, ClientAddressFrom::Peer);
        let hops =
            TrustedHops::new(vec!["10.0.0.0/8".parse().expect("a range"), "::1".parse().expect("one")]);
        for (word, expected) in [
            ("forwarded", ClientAddressFrom::Forwarded(hops.clone())),
            ("x_forwarded_for", ClientAddressFrom::XForwardedFor(hops.clone())),
            ("proxy", ClientAddressFrom::Proxy(hops)),
        ] {
            let said = format!("client_address_from = \"{word}\"\ntrusted_hops = [\"10.0.0.0/8\", \"::1\"]");
            assert_eq!(with(&said).expect(word).client_address_from, expected);
            let problems = with(&format!("client_address_from = \"{word}\"")).expect_err("from whom?");
            assert!(
                problems.iter().any(|problem| problem.starts_with("trusted_hops: is missing")),
                "{problems:?}"
            );
        }
        let from = "client_address_from = \"forwarded\"\n";
        for (hops, problem) in [
            ("[\"10.1.0.0/8\"]", "trusted_hops: has bits set behind its prefix: say 10.0.0.0/8"),
            ("[\"0.0.0.0/0\"]", "trusted_hops: holds every address"),
            ("[\"::/0\", \"10.0.0.0/8\"]", "trusted_hops: holds every address"),
            ("[\"lb.internal\"]", "trusted_hops: is not a range"),
        ] {
            let problems = with(&format!("{from}trusted_hops = {hops}")).expect_err(hops);
            assert!(problems.iter().any(|found| found.starts_with(problem)), "{problems:?}");
        }
        let problems = with("trusted_hops = [\"10.0.0.0/8\"]").expect_err("believed about nothing");
        assert!(
            problems.iter().any(|problem| problem.starts_with("client_address_from: is missing")),
            "{problems:?}"
        );
    }
}
