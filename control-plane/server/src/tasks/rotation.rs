//! Rotations of keys that are under way are brought to their end.

use std::{sync::Arc, time::Duration};

use bailiwick_core::rotation::Rotations;

use super::{Runner, Scope};
use crate::metrics::RotationMetrics;

/// One look-up where there is nothing to do.
const EVERY: Duration = Duration::from_secs(1);

pub(crate) async fn run(runner: Runner, rotations: Arc<Rotations>, metrics: RotationMetrics) {
    let work = || {
        let (rotations, metrics) = (Arc::clone(&rotations), metrics.clone());
        async move {
            let progress = |rotation: &_| metrics.show(rotation);
            let finished = rotations.run_once(progress).await?;
            if finished > 0 {
                tracing::info!(finished, "rotations of keys are over");
            }
            Ok(())
        }
    };
    runner.run("rotation", Scope::Region, EVERY, work).await;
}
