//! What a worker shall be: its configuration file, checked.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use bailiwick_runtime::configuration::{
    Checked, ControlPlaneSection, IdentitySection, OpsSection, Problems, RawControlPlaneSection,
    RawIdentitySection, RawOpsSection, RawRegionSection, RawResolverSection, RawTelemetrySection,
    RegionSection, ResolverSection, TelemetrySection, host_and_port,
};
use bailiwick_runtime::resources::memory_bytes;
use serde::Deserialize;

use crate::memory::COPIES;

/// Variables that start with this override the file: `BAILIWICK_WORKER_SERVE__LISTEN`.
pub(crate) const ENVIRONMENT: &str = "BAILIWICK_WORKER_";

const MIB: u64 = 1024 * 1024;
/// Where the system does not say how much memory there is.
const DEFAULT_HELD_BYTES: u64 = 512 * MIB;
/// OpenAI takes files of 25 MB (<https://platform.openai.com/docs/guides/speech-to-text>), and a form around them.
const DEFAULT_UPLOAD_BYTES: u64 = 26 * MIB;

/// A worker's configuration.
#[derive(Debug)]
pub(crate) struct Settings {
    /// `[region]`
    pub(crate) region: RegionSection,
    /// `[control_plane]`
    pub(crate) control_plane: ControlPlaneSection,
    /// `[identity]`
    pub(crate) identity: IdentitySection,
    /// `[serve]`
    pub(crate) serve: ServeSection,
    /// `[upstream]`
    pub(crate) upstream: UpstreamSection,
    /// `[journal]`
    pub(crate) journal: JournalSection,
    /// `[drain]`
    pub(crate) drain: DrainSection,
    /// `[telemetry]`
    pub(crate) telemetry: TelemetrySection,
    /// `[resolver]`
    pub(crate) resolver: ResolverSection,
    /// `[ops]`
    pub(crate) ops: OpsSection,
}

/// The same as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSettings {
    region: Option<RawRegionSection>,
    control_plane: Option<RawControlPlaneSection>,
    identity: Option<RawIdentitySection>,
    serve: Option<RawServeSection>,
    upstream: Option<RawUpstreamSection>,
    journal: Option<RawJournalSection>,
    drain: Option<RawDrainSection>,
    telemetry: Option<RawTelemetrySection>,
    resolver: Option<RawResolverSection>,
    ops: Option<RawOpsSection>,
}

impl Checked for Settings {
    type Raw = RawSettings;

    fn check(raw: RawSettings, problems: &mut Problems) -> Option<Self> {
        let region = problems.section("region", raw.region);
        let control_plane = problems.section("control_plane", raw.control_plane);
        let identity = problems.section("identity", raw.identity);
        let serve = problems.section("serve", raw.serve);
        let upstream = problems.section_or_default("upstream", raw.upstream);
        let journal = problems.section("journal", raw.journal);
        let drain = problems.section_or_default("drain", raw.drain);
        let telemetry = TelemetrySection::check(raw.telemetry, region.as_ref(), problems);
        let resolver = problems.section_or_default("resolver", raw.resolver);
        let ops = problems.section("ops", raw.ops);
        Some(Self {
            region: region?,
            control_plane: control_plane?,
            identity: identity?,
            serve: serve?,
            upstream: upstream?,
            journal: journal?,
            drain: drain?,
            telemetry: telemetry?,
            resolver: resolver?,
            ops: ops?,
        })
    }
}

/// Where calls come in.
#[derive(Debug)]
pub(crate) struct ServeSection {
    /// Mutual TLS, for the region's routers and operators.
    pub(crate) listen: SocketAddr,
    /// Where routers reach it, `host:port`.
    pub(crate) advertise: String,
    /// Plain HTTP for callers on this machine alone: sidecars, benchmarks.
    pub(crate) plain_listen: Option<SocketAddr>,
    /// Threads that serve, each with its own runtime and connections.
    pub(crate) cores: NonZeroUsize,
    /// Bound of a request's body.
    pub(crate) max_body_bytes: usize,
    /// The same of one with a file, which passes while it comes.
    pub(crate) max_upload_bytes: usize,
    /// Bound of the bodies that are held at once, all cores together.
    pub(crate) max_held_bytes: usize,
    /// Bound of open connections a core.
    pub(crate) max_connections_per_core: usize,
}

/// The same as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawServeSection {
    listen: Option<SocketAddr>,
    advertise: Option<String>,
    plain_listen: Option<SocketAddr>,
    cores: Option<usize>,
    max_body_bytes: Option<u64>,
    max_upload_bytes: Option<u64>,
    max_held_bytes: Option<u64>,
    max_connections_per_core: Option<usize>,
}

impl Checked for ServeSection {
    type Raw = RawServeSection;

    fn check(raw: RawServeSection, problems: &mut Problems) -> Option<Self> {
        let listen = problems.require("listen", raw.listen);
        let advertise = match (raw.advertise, listen) {
            (Some(text), _) => host_and_port("advertise", text, problems),
            (None, Some(listen)) if listen.ip().is_unspecified() => {
                problems
                    .report("advertise", "is missing: routers cannot dial the address that is listened on");
                None
            }
            (None, listen) => listen.map(|address| address.to_string()),
        };
        if raw.plain_listen.is_some_and(|address| !address.ip().is_loopback()) {
            // API keys and prompts would cross a network in plain, and R3 would not hold.
            problems.report(
                "plain_listen",
                "must be a loopback address: it is plain HTTP without a router before it",
            );
        }
        let cores = problems.within("cores", raw.cores.unwrap_or(0), 0..=1024);
        let max_body =
            problems.within("max_body_bytes", raw.max_body_bytes.unwrap_or(10 * MIB), 1024..=1024 * MIB);
        let upload = raw.max_upload_bytes.unwrap_or(DEFAULT_UPLOAD_BYTES);
        let upload = problems.within("max_upload_bytes", upload, 1024..=1024 * MIB);
        let held = max_body.zip(upload).and_then(|(max_body, upload)| {
            let least = max_body.saturating_mul(COPIES as u64).max(upload);
            max_held_bytes(raw.max_held_bytes, least, problems)
        });
        let connections = raw.max_connections_per_core.unwrap_or(10_000);
        let connections = problems.within("max_connections_per_core", connections, 1..=1_000_000);
        Some(Self {
            listen: listen?,
            advertise: advertise?,
            plain_listen: raw.plain_listen,
            cores: NonZeroUsize::new(cores?).unwrap_or_else(all_cores),
            max_body_bytes: usize::try_from(max_body?).ok()?,
            max_upload_bytes: usize::try_from(upload?).ok()?,
            max_held_bytes: usize::try_from(held?).ok()?,
            max_connections_per_core: connections?,
        })
    }
}

/// A quarter of the memory that there is, unless it is said: the rest is for the configuration, connections and what allocators waste. `least`: the largest body fits, with the
/// copy of it that its provider gets, and the largest form whose file stands before its model.
fn max_held_bytes(said: Option<u64>, least: u64, problems: &mut Problems) -> Option<u64> {
    match said {
        Some(said) => problems.within("max_held_bytes", said, least..=1 << 40),
        None => Some(memory_bytes().map_or(DEFAULT_HELD_BYTES, |bytes| bytes / 4).max(least)),
    }
}

fn all_cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// How providers are reached, and how long they may take.
#[derive(Debug)]
pub(crate) struct UpstreamSection {
    /// For name resolution, TCP and TLS together.
    pub(crate) connect_timeout: Duration,
    /// From the last byte of the request to the first of the answer.
    pub(crate) first_byte_timeout: Duration,
    /// Between two pieces of the answer.
    pub(crate) idle_timeout: Duration,
    /// Certificates of authorities that are trusted beside those that the public trusts: a PEM file.
    pub(crate) ca_file: Option<PathBuf>,
    /// Whether HTTP/2 is spoken to providers that speak it.
    pub(crate) http2: bool,
}

/// The same as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawUpstreamSection {
    connect_timeout_ms: Option<u64>,
    first_byte_timeout_ms: Option<u64>,
    idle_timeout_ms: Option<u64>,
    ca_file: Option<PathBuf>,
    http2: Option<bool>,
}

impl Checked for UpstreamSection {
    type Raw = RawUpstreamSection;

    fn check(raw: RawUpstreamSection, problems: &mut Problems) -> Option<Self> {
        let mut millis = |key, value: Option<u64>, default| {
            problems.within(key, value.unwrap_or(default), 1..=3_600_000).map(Duration::from_millis)
        };
        let connect_timeout = millis("connect_timeout_ms", raw.connect_timeout_ms, 5_000);
        let first_byte_timeout = millis("first_byte_timeout_ms", raw.first_byte_timeout_ms, 120_000);
        let idle_timeout = millis("idle_timeout_ms", raw.idle_timeout_ms, 60_000);
        Some(Self {
            connect_timeout: connect_timeout?,
            first_byte_timeout: first_byte_timeout?,
            idle_timeout: idle_timeout?,
            ca_file: raw.ca_file,
            http2: raw.http2.unwrap_or(true),
        })
    }
}

/// Where usage waits for the control plane.
#[derive(Debug)]
pub(crate) struct JournalSection {
    /// A folder of this worker's own.
    pub(crate) directory: PathBuf,
    /// Past this, new calls are refused.
    pub(crate) max_bytes: u64,
    /// What the machine may lose when its power fails.
    pub(crate) fsync_interval: Duration,
}

/// The same as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawJournalSection {
    dir: Option<PathBuf>,
    max_bytes: Option<u64>,
    fsync_interval_ms: Option<u64>,
}

impl Checked for JournalSection {
    type Raw = RawJournalSection;

    fn check(raw: RawJournalSection, problems: &mut Problems) -> Option<Self> {
        let directory = problems.require("dir", raw.dir);
        let max_bytes =
            problems.within("max_bytes", raw.max_bytes.unwrap_or(1024 * MIB), MIB..=1024 * 1024 * MIB);
        let interval = problems.within("fsync_interval_ms", raw.fsync_interval_ms.unwrap_or(50), 1..=60_000);
        Some(Self {
            directory: directory?,
            max_bytes: max_bytes?,
            fsync_interval: Duration::from_millis(interval?),
        })
    }
}

/// How the worker ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DrainSection {
    /// How long calls that are under way may take.
    pub(crate) timeout: Duration,
}

/// The same as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawDrainSection {
    timeout_seconds: Option<u64>,
}

impl Checked for DrainSection {
    type Raw = RawDrainSection;

    fn check(raw: RawDrainSection, problems: &mut Problems) -> Option<Self> {
        let seconds = problems.within("timeout_seconds", raw.timeout_seconds.unwrap_or(30), 0..=3600)?;
        Some(Self { timeout: Duration::from_secs(seconds) })
    }
}

#[cfg(test)]
mod tests;
