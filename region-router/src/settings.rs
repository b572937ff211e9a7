//! What the operator says in the router's configuration file.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use bailiwick_runtime::{
    configuration::{
        Checked, ControlPlaneSection, IdentitySection, OpsSection, Problems, RawControlPlaneSection,
        RawIdentitySection, RawOpsSection, RawRegionSection, RawResolverSection, RawTelemetrySection,
        RegionSection, ResolverSection, TelemetrySection,
    },
    identity::CertificateFiles,
    serving::HttpLimits,
};
use serde::Deserialize;

/// Variables that start with this override the file.
pub(crate) const ENVIRONMENT: &str = "BAILIWICK_ROUTER_";

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
    response_timeout_ms: Option<u64>,
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
            response_timeout: Duration::from_millis(timeout?),
        })
    }
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
}
