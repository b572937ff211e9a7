//! What an attack is, and the list of all.

use async_trait::async_trait;
use serde::Serialize;

use crate::{armed::Armed, attacks, attempt::Attempt};

/// Two regions, one against the other.
#[derive(Clone, Copy)]
pub(crate) struct Pair<'a> {
    /// Whose material is used.
    pub(crate) attacker: &'a Armed,
    /// Where it is used.
    pub(crate) target: &'a Armed,
}

/// A way in that must not be one.
#[async_trait]
pub(crate) trait Attack: Send + Sync {
    /// Its number in reports.
    fn number(&self) -> u8;

    /// In a few words.
    fn name(&self) -> &'static str;

    /// Every variant of it, tried.
    async fn run(&self, pair: Pair<'_>) -> Vec<Attempt>;
}

/// An attack as it is listed.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// Its number, by which it is chosen.
    pub number: u8,
    /// In a few words.
    pub name: &'static str,
}

/// All attacks, by number.
pub fn list() -> Vec<Listed> {
    attacks::all().iter().map(|attack| Listed { number: attack.number(), name: attack.name() }).collect()
}
