//! Attacks a running installation, region against region, and says what refused each attack.
//!
//! An auditor shall not have to believe that regions are islands. For every ordered pair of regions, whatever the first one has (keys,
//! identifiers, certificates, tokens) is really tried against the second. Each attempt knows which layer must refuse it and with which answer; anything else, an
//! error of another kind included, counts as a hole.
//!
//! Start at [`verify`] for the course of a run, at [`attack`] for what an attack is, and at `attacks` for the list of them.
//!
//! Never here: a secret in a report, an attack on anything that this run has not made itself (organization, keys, processes' certificates are made
//! for it and removed again; what is on disk is tampered with in copies), a tick for what was not tried.

mod access;
mod armed;
mod attack;
mod attacks;
mod attempt;
mod badge;
mod false_control_plane;
mod knock;
mod report;
mod run;
mod store_copy;
mod web;
mod worker_program;

pub use access::{Access, State};
pub use attack::{Listed, list};
pub use attempt::{Attempt, Verdict};
pub use report::{Cell, ProcessReport, RegionReport, Report, Tried};
pub use run::{Choice, VerifyError, verify};
