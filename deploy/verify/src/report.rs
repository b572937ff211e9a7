//! What a run found, for programs and auditors. It carries no secret: identifiers, fingerprints, refusals and times.
//!
//! As JSON, one object:
//!
//! | field | what |
//! |---|---|
//! | `format` | 1; another number when a field changes its meaning or goes. Fields may be added. |
//! | `build` | of this program |
//! | `began_micros`, `ended_micros` | microseconds since the Unix epoch |
//! | `passed` | whether everything that was tried was refused as documented; the exit code says the same |
//! | `interrupted` | text, or null |
//! | `regions` | [`RegionReport`] each: name, epoch, revision, builds and certificates' fingerprints as they were at the beginning |
//! | `attacks` | `number`, `name` |
//! | `table` | [`Cell`] for each attack and ordered pair: the worst verdict, how many attempts, the longest time |
//! | `attempts` | [`Tried`] each: `attack`, `from`, `to`, `what`, `layer`, `expected`, `observed`, `verdict`, `took_micros` |
//! | `left_behind` | texts; empty in order |
//!
//! A `verdict` is `refused`, `not_attempted`, `unanswered` or `hole`. Fingerprints are SHA-256 of a certificate's DER, hexadecimal.

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
    /// Attacks by pairs.
    pub table: Vec<Cell>,
    /// Every attempt, by attack and pair.
    pub attempts: Vec<Tried>,
    /// What this run made in the regions and could not remove; empty in order.
    pub left_behind: Vec<String>,
}

/// An attack on a pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// Number of the attack.
    pub attack: u8,
    /// Region whose material was used.
    pub from: String,
    /// Region where it was used.
    pub to: String,
    /// The worst of what was tried; `not_attempted` where nothing could be.
    pub verdict: Verdict,
    /// Attempts that were made.
    pub tried: usize,
    /// Attempts that could not be made from here; each says why.
    pub not_tried: usize,
    /// The longest time to a refusal.
    pub longest_micros: u64,
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
    /// SHA-256 of its root certificate, hexadecimal.
    pub ca_fingerprint: String,
    /// SHA-256 of the certificate that its control plane presents to operators, hexadecimal.
    pub control_plane_fingerprint: String,
    /// SHA-256 of the certificate that its router presents to callers, hexadecimal; `None` where it serves no TLS.
    pub public_fingerprint: Option<String>,
    /// SHA-256, hexadecimal, of its operator's certificate, with which the run was made.
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
    /// SHA-256 of the certificate that it is connected with, hexadecimal; empty where it is not.
    pub certificate_fingerprint: String,
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
            certificate_fingerprint: worker.certificate_fingerprint.clone(),
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
            control_plane_fingerprint: hexadecimal(&armed.control_plane_fingerprint),
            public_fingerprint: armed.public_fingerprint.map(|fingerprint| hexadecimal(&fingerprint)),
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
            table: table(&attacks, &attempts),
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

    /// An attack on a pair.
    pub fn cell(&self, attack: u8, pair: (&str, &str)) -> Option<&Cell> {
        self.table
            .iter()
            .find(|cell| (cell.attack, cell.from.as_str(), cell.to.as_str()) == (attack, pair.0, pair.1))
    }

    /// The ordered pairs that were attacked.
    pub fn pairs(&self) -> Vec<(&str, &str)> {
        pairs(&self.attempts)
    }
}

fn pairs(attempts: &[Tried]) -> Vec<(&str, &str)> {
    let pairs: BTreeSet<_> = attempts.iter().map(|tried| (tried.from.as_str(), tried.to.as_str())).collect();
    pairs.into_iter().collect()
}

fn table(attacks: &[Listed], attempts: &[Tried]) -> Vec<Cell> {
    let pairs = pairs(attempts);
    let places = attacks.iter().flat_map(|attack| pairs.iter().map(move |pair| (attack.number, *pair)));
    places.map(|(attack, pair)| cell(attack, pair, attempts)).collect()
}

fn cell(attack: u8, (from, to): (&str, &str), attempts: &[Tried]) -> Cell {
    let here = attempts
        .iter()
        .filter(|tried| (tried.attack, tried.from.as_str(), tried.to.as_str()) == (attack, from, to));
    let (not_tried, tried): (Vec<&Attempt>, Vec<&Attempt>) =
        here.map(|tried| &tried.attempt).partition(|attempt| attempt.verdict == Verdict::NotAttempted);
    let longest = tried.iter().map(|attempt| attempt.took).max().unwrap_or_default();
    Cell {
        attack,
        from: from.to_owned(),
        to: to.to_owned(),
        verdict: tried.iter().map(|attempt| attempt.verdict).max().unwrap_or(Verdict::NotAttempted),
        tried: tried.len(),
        not_tried: not_tried.len(),
        longest_micros: u64::try_from(longest.as_micros()).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests;
