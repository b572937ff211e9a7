//! 12: sealed values in a place that is not theirs. In a copy of the database, one is written over another, as somebody does who may write to the
//! database and holds no key; then the region's own program tries to open everything.
//!
//! What was moved has to be reported at its place, and the rest has to open: a program that opens nothing would find everything.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{layer, stores::NO_STATE};
use crate::{
    access::State,
    attack::{Attack, Pair},
    attempt::{Attempt, Probe},
    store_copy::{Inspected, StoreCopy, complaint},
};

const EXPECTED: &str = "found by this region's own program, which opens what was not moved";
const DOES_NOT_UNWRAP: &str =
    "the data key does not unwrap: it was changed, moved, or wrapped by another master key";

pub(super) struct SealedValues;

#[async_trait]
impl Attack for SealedValues {
    fn number(&self) -> u8 {
        12
    }

    fn name(&self) -> &'static str {
        "a sealed value in another place"
    }

    async fn run(&self, pair: Pair<'_>) -> Vec<Attempt> {
        let (Some(from), Some(to)) = (&pair.attacker.access.state, &pair.target.access.state) else {
            let probe = Probe::new("sealed values and wrapped data keys, moved", layer::VAULT, EXPECTED);
            return vec![probe.not_attempted(NO_STATE)];
        };
        match prepare(pair, from, to) {
            Err(why) => {
                let probe = Probe::new("sealed values and wrapped data keys, moved", layer::VAULT, EXPECTED);
                vec![probe.not_attempted(why)]
            }
            Ok(experiments) => {
                let mut attempts = Vec::new();
                for experiment in experiments {
                    attempts.extend(experiment.run(to).await);
                }
                attempts
            }
        }
    }
}

/// One value in a database.
struct Place<'a> {
    table: &'static str,
    column: &'static str,
    /// The column that names the row.
    key: &'static str,
    row: &'a str,
}

impl<'a> Place<'a> {
    fn new(table: &'static str, column: &'static str, row: &'a str) -> Self {
        Self { table, column, key: "id", row }
    }

    /// The one data key that a young organization has.
    fn data_key(organization: &'a str) -> Self {
        Self { table: "data_keys", column: "wrapped", key: "scope", row: organization }
    }

    fn read(&self, database: &Connection) -> Result<Vec<u8>, String> {
        let Self { table, column, key, row } = self;
        let statement = format!("SELECT {column} FROM {table} WHERE {key} = ?1");
        let read = database.query_row(&statement, params![row], |found| found.get(0));
        read.map_err(|error| format!("{table} {row} cannot be read: {error}"))
    }

    fn write(&self, database: &Connection, bytes: &[u8]) -> Result<(), String> {
        let Self { table, column, key, row } = self;
        let statement = format!("UPDATE {table} SET {column} = ?1 WHERE {key} = ?2");
        match database.execute(&statement, params![bytes, row]) {
            Ok(1) => Ok(()),
            Ok(rows) => Err(format!("{rows} rows are {table} {row}")),
            Err(error) => Err(format!("{table} {row} cannot be written: {error}")),
        }
    }

    /// How a report speaks of it.
    fn name(&self) -> String {
        if self.key == "scope" { format!("{}/1", self.row) } else { self.row.to_owned() }
    }

    /// What a report says when the value is not of this place.
    fn problem(&self) -> String {
        if self.key == "scope" {
            return DOES_NOT_UNWRAP.to_owned();
        }
        format!("{} does not open: it was changed, moved, or its data key is not there", self.column)
    }
}

/// A value that was moved.
struct Moved {
    probe: Probe,
    row: String,
    table: &'static str,
    problem: String,
}

/// A copy with values that were moved, which do not disturb each other.
struct Experiment {
    copy: StoreCopy,
    moved: Vec<Moved>,
}

fn prepare(pair: Pair<'_>, from: &State, to: &State) -> Result<Vec<Experiment>, String> {
    let (theirs, ours) = (&pair.attacker.account, &pair.target.account);
    let elsewhere = StoreCopy::of(from)?;
    let there = elsewhere.open()?;
    let values = StoreCopy::of(to)?;
    let here = values.open()?;
    let neighbour = neighbour(&here, &ours.organization)?;
    let name = |row| Place::new("organizations", "name", row);
    let key = |row| Place::new("api_keys", "name", row);
    let credential = |column| Place::new("credentials", column, &ours.credential);
    let foreign = Place::new("credentials", "name", &theirs.credential);
    // All are read before any is written over.
    let moves = [
        ("a value in another row of its column", key(&ours.other_key_id).read(&here)?, key(&ours.key_id)),
        ("a value in another column of its row", credential("name").read(&here)?, credential("secret")),
        ("a value of another organization", name(&neighbour).read(&here)?, name(&ours.organization)),
        ("a value of the other region, in its own column", foreign.read(&there)?, credential("name")),
    ];
    let moved = moves.iter().map(|(what, bytes, place)| Moved::make(what, bytes, place, &here));
    let mut experiments = vec![Experiment { moved: moved.collect::<Result<_, _>>()?, copy: values }];
    let keys = [
        ("a data key of another organization", Place::data_key(&neighbour).read(&here)?),
        ("a data key of the other region", Place::data_key(&theirs.organization).read(&there)?),
    ];
    for (what, bytes) in keys {
        let copy = StoreCopy::of(to)?;
        let moved = Moved::make(what, &bytes, &Place::data_key(&ours.organization), &copy.open()?)?;
        experiments.push(Experiment { moved: vec![moved], copy });
    }
    Ok(experiments)
}

/// An organization that was there before.
fn neighbour(database: &Connection, other: &str) -> Result<String, String> {
    let statement = "SELECT id FROM organizations WHERE id <> ?1 AND status = 'active' ORDER BY id LIMIT 1";
    let found = database.query_row(statement, params![other], |row| row.get(0)).optional();
    let found = found.map_err(|error| format!("organizations cannot be read: {error}"))?;
    found.ok_or_else(|| "the region has no other organization to take a value from".to_owned())
}

impl Moved {
    fn make(what: &str, bytes: &[u8], to: &Place<'_>, database: &Connection) -> Result<Self, String> {
        let probe = Probe::new(what, layer::VAULT, EXPECTED);
        to.write(database, bytes)?;
        Ok(Self { probe, row: to.name(), table: to.table, problem: to.problem() })
    }

    fn is_in(&self, found: &Inspected) -> bool {
        let said = |it: &crate::store_copy::Problem| {
            it.table == self.table && it.row == self.row && it.problem == self.problem
        };
        found.problems.iter().any(said)
    }
}

impl Experiment {
    async fn run(self, by: &State) -> Vec<Attempt> {
        let Self { copy, moved } = self;
        match copy.verify(by, &[]).await {
            Err(why) => moved.into_iter().map(|moved| moved.probe.unanswered(why.clone())).collect(),
            Ok((output, None)) => {
                let said = complaint(&output);
                moved.into_iter().map(|moved| moved.probe.expect(false, said.clone())).collect()
            }
            Ok((output, Some(found))) => {
                let others_open = found.sealed_opened > 0 && found.data_keys > 0;
                let judge = |moved: Moved| {
                    let is_found = moved.is_in(&found);
                    let refused = is_found && others_open && !output.status.success();
                    let said =
                        if is_found { moved.problem.as_str() } else { "nothing was found at its place" };
                    let said = format!("{said}; {} other values opened", found.sealed_opened);
                    moved.probe.expect(refused, said)
                };
                moved.into_iter().map(judge).collect()
            }
        }
    }
}
