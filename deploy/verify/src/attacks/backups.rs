//! 13: a backup of one region, restored in another. It is a real backup, and it is restored over a copy of the target's database with the target's own
//! program, configuration and master key, as an operator does who took the wrong folder.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{layer, stores::NO_STATE};
use crate::{
    access::State,
    attack::{Attack, Pair},
    attempt::{Attempt, Probe},
    store_copy::{StoreCopy, complaint, run, text},
};

pub(super) struct Backups;

#[async_trait]
impl Attack for Backups {
    fn number(&self) -> u8 {
        13
    }

    fn name(&self) -> &'static str {
        "a foreign region's backup"
    }

    async fn run(&self, pair: Pair<'_>) -> Vec<Attempt> {
        let probe = Probe::new(
            "a backup of the other region, restored over a copy of this region's database",
            layer::BACKUP,
            "refused, naming the region that it belongs to; nothing replaced",
        );
        let (Some(_), Some(to)) = (&pair.attacker.access.state, &pair.target.access.state) else {
            return vec![probe.not_attempted(NO_STATE)];
        };
        vec![restore(probe, pair, to).await]
    }
}

async fn restore(probe: Probe, pair: Pair<'_>, to: &State) -> Attempt {
    let restored = async {
        let backup = pair.attacker.backup().await?;
        let copy = StoreCopy::of(to)?;
        let before = state(&copy.open()?)?;
        let url = copy.url();
        // The region serves, and its listeners are taken: the program shall not mind, it restores a copy.
        let elsewhere = [
            ("BAILIWICK_CONTROL_PLANE_STORE__URL", url.as_str()),
            ("BAILIWICK_CONTROL_PLANE_ADMIN__LISTEN", "127.0.0.1:0"),
            ("BAILIWICK_CONTROL_PLANE_WORKERS__LISTEN", "127.0.0.1:0"),
            ("BAILIWICK_CONTROL_PLANE_ENROLLMENT__LISTEN", "127.0.0.1:0"),
        ];
        let output = run(to, &["restore", "--replace", "--from", text(backup.folder())?], &elsewhere).await?;
        Ok::<_, String>((output, before == state(&copy.open()?)?))
    };
    match restored.await {
        Err(why) => probe.not_attempted(why),
        Ok((output, untouched)) => {
            let said = complaint(&output);
            let (region, installation) = (pair.attacker.name(), &pair.attacker.access.installation);
            let owner = format!("a backup of {region}.{installation}");
            let refused =
                !output.status.success() && said.contains(&owner) && said.contains("nothing was restored");
            let said = if untouched { said } else { format!("the database was changed; {said}") };
            probe.expect(refused && untouched, said)
        }
    }
}

/// What no restoring leaves as it was: the epoch changes, and every row is written anew.
fn state(database: &Connection) -> Result<(String, i64, String), String> {
    let statement = "SELECT epoch, (SELECT revision FROM region_revision), \
         (SELECT coalesce(group_concat(id || status), '') FROM (SELECT id, status FROM organizations ORDER BY id)) \
         FROM cluster_identity";
    let read = database.query_row(statement, params![], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    read.map_err(|error| format!("the copy cannot be read: {error}"))
}
