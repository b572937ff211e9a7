//! A change of the certificate authority goes on as soon as it can.

use std::{sync::Arc, time::Duration};

use bailiwick_core::authority::AuthorityChange;

use super::{Runner, Scope};

const EVERY: Duration = Duration::from_secs(1);

pub(crate) async fn run(runner: Runner, change: AuthorityChange, actor: String) {
    let clock = Arc::clone(&runner.clock);
    let work = || {
        let (change, actor, clock) = (change.clone(), actor.clone(), Arc::clone(&clock));
        async move {
            // One step may make the next one due; the run after this takes it.
            change.advance(&actor, false, clock.now()).await?;
            Ok(())
        }
    };
    runner.run("authority_change", Scope::Region, EVERY, work).await;
}
