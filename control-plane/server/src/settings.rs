//! What the operator says in the control plane's configuration file. Read in [`bailiwick_runtime::configuration`]; checked here, every
//! problem at once.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use bailiwick_core::{enrollment::CERTIFICATE_LIFETIME, rotation::Pace};
use bailiwick_domain::{
    egress::EgressPolicy,
    money::NanoUsd,
    price::{PerMillion, Price},
    provider::Provider,
};
use bailiwick_runtime::configuration::{
    Checked, OpsSection, Problems, RawOpsSection, RawRegionSection, RawResolverSection, RawTelemetrySection,
    RegionSection, ResolverSection, SecretSource, TelemetrySection,
};
use secrecy::SecretString;
use serde::Deserialize;

pub(crate) use self::master_key::{MasterKeyPlace, MasterKeySection};
use self::{egress::RawEgress, master_key::RawMasterKey};

mod egress;
mod master_key;

/// Variables that start with this override the file: `BAILIWICK_CONTROL_PLANE_STORE__URL`.
pub(crate) const ENVIRONMENT: &str = "BAILIWICK_CONTROL_PLANE_";

/// Everything that a control plane is told.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) region: RegionSection,
    pub(crate) store: StoreUrl,
    pub(crate) master_key: MasterKeySection,
    /// How fast keys are rotated.
    pub(crate) rotation: Pace,
    /// mTLS; operators and services.
    pub(crate) admin: SocketAddr,
    /// mTLS; workers and routers.
    pub(crate) workers: SocketAddr,
    /// TLS; whoever has a join token.
    pub(crate) enrollment: SocketAddr,
    /// TLS; whoever has a service account's secret, or a bearer token. `None`: nobody is served so.
    pub(crate) tokens: Option<SocketAddr>,
    pub(crate) identity: IdentitySection,
    pub(crate) configuration: ConfigurationSection,
    pub(crate) egress: EgressPolicy,
    pub(crate) signup: SignupSection,
    pub(crate) destruction: DestructionSection,
    /// By provider and its name of the model; before the catalogue's.
    pub(crate) prices: HashMap<(Provider, String), Price>,
    pub(crate) telemetry: TelemetrySection,
    pub(crate) resolver: ResolverSection,
    pub(crate) ops: OpsSection,
}

/// Where the store is. The text may hold a password, and is never printed.
#[derive(Clone, Debug)]
pub(crate) enum StoreUrl {
    Here(SecretString),
    From(SecretSource),
}

/// This process's own certificate.
#[derive(Clone, Debug)]
pub(crate) struct IdentitySection {
    /// Where it is kept.
    pub(crate) dir: PathBuf,
    /// Name in it; replicas of one region have different ones.
    pub(crate) name: String,
    /// How long the certificates of the region's processes live.
    pub(crate) certificate_lifetime: Duration,
}

/// What workers are promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConfigurationSection {
    /// How long a worker may serve after each bookmark.
    pub(crate) lease: Duration,
    /// Time between bookmarks.
    pub(crate) bookmark: Duration,
    /// Snapshots that run at once.
    pub(crate) snapshots: usize,
}

/// Whether strangers may sign up, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SignupSection {
    pub(crate) open: bool,
    pub(crate) per_minute: u32,
}

/// What becomes of deleted organizations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DestructionSection {
    /// How long after its deletion usage of an organization is still accounted. Its single usage events stay as long.
    pub(crate) late_usage: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSettings {
    region: Option<RawRegionSection>,
    store: Option<RawStore>,
    master_key: Option<RawMasterKey>,
    rotation: Option<RawRotation>,
    admin: Option<RawListen>,
    workers: Option<RawListen>,
    enrollment: Option<RawListen>,
    tokens: Option<RawListen>,
    identity: Option<RawIdentity>,
    configuration: Option<RawConfiguration>,
    egress: Option<RawEgress>,
    signup: Option<RawSignup>,
    destruction: Option<RawDestruction>,
    #[serde(default)]
    prices: BTreeMap<String, RawPrice>,
    telemetry: Option<RawTelemetrySection>,
    resolver: Option<RawResolverSection>,
    ops: Option<RawOpsSection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawStore {
    url: Option<String>,
    url_from: Option<SecretSource>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawListen {
    listen: Option<SocketAddr>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawIdentity {
    dir: Option<PathBuf>,
    name: Option<String>,
    certificate_lifetime_seconds: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawConfiguration {
    lease_seconds: Option<u64>,
    bookmark_seconds: Option<u64>,
    snapshots: Option<usize>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawSignupMode {
    #[default]
    Closed,
    Open,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSignup {
    #[serde(default)]
    mode: RawSignupMode,
    per_minute: Option<u32>,
}

/// Data keys or sealed values in a transaction, and the pause between two of them.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRotation {
    batch: Option<u32>,
    pause_ms: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawDestruction {
    late_usage_seconds: Option<u64>,
}

/// US dollars per million tokens.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPrice {
    input: f64,
    output: f64,
    cached_input: Option<f64>,
    image: Option<f64>,
    audio_minute: Option<f64>,
    cache_write: Option<f64>,
}

impl Checked for Settings {
    type Raw = RawSettings;

    fn check(raw: RawSettings, problems: &mut Problems) -> Option<Self> {
        let region = problems.section("region", raw.region);
        let store = problems.section("store", raw.store);
        let name = region.as_ref().map(|region: &RegionSection| region.region().name.clone());
        let master_key = problems.require("master_key", raw.master_key).and_then(|raw| {
            problems.nested("master_key", |problems| master_key::check(raw, name.as_ref(), problems))
        });
        let rotation =
            problems.nested("rotation", |problems| pace(raw.rotation.unwrap_or_default(), problems));
        let admin = listen("admin", raw.admin, problems);
        let workers = listen("workers", raw.workers, problems);
        let enrollment = listen("enrollment", raw.enrollment, problems);
        let tokens = match raw.tokens {
            None => Some(None),
            given => listen("tokens", given, problems).map(Some),
        };
        let identity = problems.section("identity", raw.identity);
        let configuration = problems.section_or_default("configuration", raw.configuration);
        let egress = problems.nested("egress", |problems| {
            egress::check(raw.egress.unwrap_or_default(), region.as_ref(), problems)
        });
        let signup = problems.section_or_default("signup", raw.signup);
        let destruction = problems.section_or_default("destruction", raw.destruction);
        let prices = problems.nested("prices", |problems| prices(raw.prices, problems));
        let telemetry = TelemetrySection::check(raw.telemetry, region.as_ref(), problems);
        let resolver = problems.section_or_default("resolver", raw.resolver);
        let ops = problems.section("ops", raw.ops);
        Some(Self {
            region: region?,
            store: store?,
            master_key: master_key?,
            rotation: rotation?,
            admin: admin?,
            workers: workers?,
            enrollment: enrollment?,
            tokens: tokens?,
            identity: identity?,
            configuration: configuration?,
            egress: egress?,
            signup: signup?,
            destruction: destruction?,
            prices: prices?,
            telemetry: telemetry?,
            resolver: resolver?,
            ops: ops?,
        })
    }
}

impl Checked for StoreUrl {
    type Raw = RawStore;

    fn check(raw: RawStore, problems: &mut Problems) -> Option<Self> {
        match (raw.url, raw.url_from) {
            (Some(url), None) => Some(Self::Here(url.into())),
            (None, Some(source)) => Some(Self::From(source)),
            (None, None) => problems.require("url", None),
            (Some(_), Some(_)) => {
                problems.report("url_from", "is given beside url: one of the two");
                None
            }
        }
    }
}

impl Checked for IdentitySection {
    type Raw = RawIdentity;

    fn check(raw: RawIdentity, problems: &mut Problems) -> Option<Self> {
        let name = raw.name.unwrap_or_else(|| "control-plane".to_owned());
        // Under a few minutes is for tests: processes then renew every few seconds, and an outage of the control plane stops them soon.
        let longest = CERTIFICATE_LIFETIME.as_secs();
        let lifetime = raw.certificate_lifetime_seconds.unwrap_or(longest);
        let lifetime = problems.within("certificate_lifetime_seconds", lifetime, 20..=longest);
        Some(Self {
            dir: problems.require("dir", raw.dir)?,
            name,
            certificate_lifetime: Duration::from_secs(lifetime?),
        })
    }
}

impl Checked for ConfigurationSection {
    type Raw = RawConfiguration;

    fn check(raw: RawConfiguration, problems: &mut Problems) -> Option<Self> {
        const DAY: u64 = 24 * 3600;
        let lease = problems.within("lease_seconds", raw.lease_seconds.unwrap_or(3600), 1..=DAY);
        let bookmark = problems.within("bookmark_seconds", raw.bookmark_seconds.unwrap_or(2), 1..=60);
        let snapshots = problems.within("snapshots", raw.snapshots.unwrap_or(4), 1..=64);
        let (lease, bookmark) = (lease?, bookmark?);
        if lease <= bookmark {
            problems.report(
                "lease_seconds",
                "must be longer than bookmark_seconds, or leases end between bookmarks",
            );
            return None;
        }
        let (lease, bookmark) = (Duration::from_secs(lease), Duration::from_secs(bookmark));
        Some(Self { lease, bookmark, snapshots: snapshots? })
    }
}

impl Checked for SignupSection {
    type Raw = RawSignup;

    fn check(raw: RawSignup, problems: &mut Problems) -> Option<Self> {
        let per_minute = problems.within("per_minute", raw.per_minute.unwrap_or(10), 1..=100_000)?;
        Some(Self { open: matches!(raw.mode, RawSignupMode::Open), per_minute })
    }
}

fn pace(raw: RawRotation, problems: &mut Problems) -> Option<Pace> {
    let batch = problems.within("batch", raw.batch.unwrap_or(100), 1..=1000);
    let pause = problems.within("pause_ms", raw.pause_ms.unwrap_or(50), 0..=60_000);
    Some(Pace { batch: batch?, pause: Duration::from_millis(pause?) })
}

impl Checked for DestructionSection {
    type Raw = RawDestruction;

    fn check(raw: RawDestruction, problems: &mut Problems) -> Option<Self> {
        const DAY: u64 = 24 * 3600;
        let late = problems.within("late_usage_seconds", raw.late_usage_seconds.unwrap_or(DAY), 0..=30 * DAY);
        Some(Self { late_usage: Duration::from_secs(late?) })
    }
}

fn listen(section: &str, raw: Option<RawListen>, problems: &mut Problems) -> Option<SocketAddr> {
    problems.nested(section, |problems| problems.require("listen", raw.and_then(|raw| raw.listen)))
}

fn prices(
    raw: BTreeMap<String, RawPrice>,
    problems: &mut Problems,
) -> Option<HashMap<(Provider, String), Price>> {
    let checked: Vec<_> = raw
        .into_iter()
        .map(|(name, price)| {
            let parts = name.split_once('/').and_then(|(provider, model)| {
                let provider: Provider = provider.parse().ok()?;
                (!model.is_empty()).then(|| (provider, model.to_owned()))
            });
            if parts.is_none() {
                problems.report(&name, "is not <provider>/<model>, such as openai/gpt-4o");
            }
            let price = problems.nested(&name, |problems| price.check(problems));
            Some((parts?, price?))
        })
        .collect();
    checked.into_iter().collect()
}

impl RawPrice {
    fn check(&self, problems: &mut Problems) -> Option<Price> {
        let mut of =
            |key: &str, usd: f64| per_million(usd).map_err(|problem| problems.report(key, problem)).ok();
        let (input, output) = (of("input", self.input), of("output", self.output));
        let cached_input = self.cached_input.map(|usd| of("cached_input", usd));
        let cache_write = self.cache_write.map(|usd| of("cache_write", usd));
        let image = self.image.map(|usd| of("image", usd));
        let audio_minute = self.audio_minute.map(|usd| of("audio_minute", usd));
        Some(Price {
            input: input?,
            output: output?,
            cached_input: cached_input.map_or(Some(None), |price| price.map(Some))?,
            cache_write: cache_write.map_or(Some(None), |price| price.map(Some))?,
            image: image.map_or(Some(None), |price| price.map(Some))?,
            audio_minute: audio_minute.map_or(Some(None), |price| price.map(Some))?,
        })
    }
}

/// Through the decimal text: a price that was written as 2.5 is 2.5, to the nano-dollar.
fn per_million(usd: f64) -> Result<PerMillion, String> {
    let exact: NanoUsd = format!("{usd:.9}").parse().map_err(|_| "is not an amount of dollars".to_owned())?;
    PerMillion::from_usd(exact).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
