//! What a run found, for programs and auditors. It carries no secret: identifiers, fingerprints, refusals and times.

use std::collections::BTreeSet;

use bailiwick_domain::time::Timestamp;
use serde::Serialize;

use crate::{
    armed::Armed,
    attack::Listed,
    attempt::{Attempt, Verdict},
};

/// A whole run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of this format.
    pub format: u32,
    /// Build of this program.
    pub build: &'static str,
    /// When it began and ended, microseconds since the Unix epoch.
    pub began_micros: i64,
    /// See `began_micros`.
    pub ended_micros: i64,
    /// Whether everything that was tried was refused as documented, and something was tried.
    pub passed: bool,
    /// Why the run ended before its end, if it did.
    pub interrupted: Option<String>,
    /// The regions, in the order of their names.
    pub regions: Vec<RegionReport>,
    /// The attacks that were chosen.
    pub attacks: Vec<Listed>,
    /// Every attempt, by attack and pair.
    pub attempts: Vec<Tried>,
    /// What this run made in the regions and could not remove; empty in order.
    pub left_behind: Vec<String>,
}

/// An attempt in its place.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    /// Number of the attack.
    pub attack: u8,
    /// Region whose material was used.
    pub from: String,
    /// Region where it was used.
    pub to: String,
    /// What came of it.
    #[serde(flatten)]
    pub attempt: Attempt,
}

/// A region as it was at the time.
#[derive(Clone, Debug, Serialize)]
pub struct RegionReport {
    /// Its name.
    pub name: String,
    /// Its short form.
    pub code: String,
    /// Its installation.
    pub installation: String,
    /// Its store's beginning: changes when a store is restored.
    pub epoch: String,
    /// Its revision before the run.
    pub revision: u64,
    /// Build of its control plane.
    pub control_plane_build: String,
    /// SHA-256 of its root certificate.
    pub ca_fingerprint: String,
    /// SHA-256 (hexadecimal) of its operator's certificate, with which the run was made.
    pub operator_fingerprint: String,
    /// The operator's name.
    pub operator: String,
    /// Its workers and routers.
    pub processes: Vec<ProcessReport>,
}

/// A worker or router.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessReport {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: String,
    /// Its build, where it is connected.
    pub build: String,
    /// Where its region's routers reach it.
    pub address: String,
}

impl RegionReport {
    pub(crate) fn of(armed: &Armed) -> Self {
        let about = &armed.about;
        let process = |worker: &bailiwick_proto::admin::v1::Worker| ProcessReport {
            name: worker.name.clone(),
            role: worker.role.clone(),
            build: worker.build.clone(),
            address: worker.advertise_address.clone(),
        };
        Self {
            name: about.name.clone(),
            code: about.code.clone(),
            installation: about.installation.clone(),
            epoch: about.epoch.clone(),
            revision: about.revision,
            control_plane_build: about.build.clone(),
            ca_fingerprint: about.ca_fingerprint.clone(),
            operator_fingerprint: hexadecimal(&armed.operator.fingerprint()),
            operator: armed.operator.spiffe_id().to_string(),
            processes: armed.fleet.iter().map(process).collect(),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Report {
    pub(crate) fn new(
        (began, ended): (Timestamp, Timestamp),
        regions: Vec<RegionReport>,
        attacks: Vec<Listed>,
        mut attempts: Vec<Tried>,
    ) -> Self {
        attempts.sort_by(|one, other| {
            (one.attack, &one.from, &one.to).cmp(&(other.attack, &other.from, &other.to))
        });
        let mut report = Self {
            format: 1,
            build: env!("CARGO_PKG_VERSION"),
            began_micros: began.as_micros(),
            ended_micros: ended.as_micros(),
            passed: false,
            interrupted: None,
            regions,
            attacks,
            attempts,
            left_behind: Vec::new(),
        };
        report.judge();
        report
    }

    /// A run that was cut short proves nothing of what it did not come to.
    pub(crate) fn interrupted(mut self, why: Option<String>) -> Self {
        self.interrupted = why;
        self.judge();
        self
    }

    fn judge(&mut self) {
        let count = |verdict| self.attempts.iter().filter(|tried| tried.attempt.verdict == verdict).count();
        let failed = count(Verdict::Hole) + count(Verdict::Unanswered);
        self.passed = failed == 0 && count(Verdict::Refused) > 0 && self.interrupted.is_none();
    }

    /// The ordered pairs that were attacked.
    pub fn pairs(&self) -> Vec<(&str, &str)> {
        let pairs: BTreeSet<_> =
            self.attempts.iter().map(|tried| (tried.from.as_str(), tried.to.as_str())).collect();
        pairs.into_iter().collect()
    }

    /// The attempts of an attack on a pair.
    pub fn of<'a>(&'a self, attack: u8, pair: (&'a str, &'a str)) -> impl Iterator<Item = &'a Attempt> {
        let wanted = move |tried: &&Tried| {
            (tried.attack, tried.from.as_str(), tried.to.as_str()) == (attack, pair.0, pair.1)
        };
        self.attempts.iter().filter(wanted).map(|tried| &tried.attempt)
    }
}
