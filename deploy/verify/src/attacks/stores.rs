//! 11: one region's database in the hands of another. Only where the regions' state lies on this machine.

use async_trait::async_trait;

use super::layer;
use crate::{
    access::State,
    attack::{Attack, Pair},
    attempt::{Attempt, Probe},
    store_copy::{StoreCopy, complaint, text},
};

/// Why what needs a region's files cannot be tried.
pub(super) const NO_STATE: &str = "the regions' state is not on this machine";

pub(super) struct Stores;

#[async_trait]
impl Attack for Stores {
    fn number(&self) -> u8 {
        11
    }

    fn name(&self) -> &'static str {
        "a foreign region's database"
    }

    async fn run(&self, pair: Pair<'_>) -> Vec<Attempt> {
        let (from, to) = (pair.attacker.access.state.as_ref(), pair.target.access.state.as_ref());
        let opened = Probe::new(
            "a copy of the other region's database, opened by this region's control plane",
            layer::STORE_IDENTITY,
            "refused, naming the region that it belongs to",
        );
        let unsealed = Probe::new(
            "a copy of the other region's database, its identity untouched, under this region's master key",
            layer::VAULT,
            "nothing that is sealed opens",
        );
        let (Some(from), Some(to)) = (from, to) else {
            return vec![opened.not_attempted(NO_STATE), unsealed.not_attempted(NO_STATE)];
        };
        vec![open(opened, pair, from, to).await, unseal(unsealed, from, to).await]
    }
}

async fn open(probe: Probe, pair: Pair<'_>, from: &State, to: &State) -> Attempt {
    let verified = async { StoreCopy::of(from)?.verify(to, &[]).await };
    match verified.await {
        Err(why) => probe.not_attempted(why),
        Ok((output, _)) => {
            let said = complaint(&output);
            let owner = format!("belongs to {}.{}", pair.attacker.name(), pair.attacker.access.installation);
            probe.expect(!output.status.success() && said.contains(&owner), said)
        }
    }
}

/// The attacker's own configuration opens its own copy, but with the target's master key.
async fn unseal(probe: Probe, from: &State, to: &State) -> Attempt {
    let verified = async {
        let master_key = text(&to.master_key)?;
        let environment = [("BAILIWICK_CONTROL_PLANE_MASTER_KEY__FILE", master_key)];
        StoreCopy::of(from)?.verify(from, &environment).await
    };
    match verified.await {
        Err(why) => probe.not_attempted(why),
        Ok((output, None)) => probe.expect(false, complaint(&output)),
        Ok((output, Some(found))) => {
            let refused = !output.status.success() && found.sealed_opened == 0 && found.data_keys == 0;
            let said =
                format!("{} sealed values and {} data keys opened", found.sealed_opened, found.data_keys);
            probe.expect(refused, said)
        }
    }
}
