//! What a process shows its operators, in plain HTTP: `/metrics` (OpenMetrics), `/healthz` (it runs) and `/readyz` (it can do its
//! work, condition by condition, with the reason of each that is not met).

mod readiness;
mod server;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::registry::Registry;

pub use readiness::{Condition, Readiness};
pub use server::OpsServer;

/// The metrics and the readiness of a process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ops {
    registry: Arc<Mutex<Registry>>,
    readiness: Readiness,
}

impl Ops {
    /// No metrics and no conditions yet. Names of metrics get the prefix `bailiwick_`.
    pub fn new() -> Self {
        let registry = Registry::with_prefix("bailiwick");
        Self { registry: Arc::new(Mutex::new(registry)), readiness: Readiness::default() }
    }

    /// Registers metrics. Their labels must never carry what callers wrote: no prompts, no keys, no free text.
    pub fn register(&self, register: impl FnOnce(&mut Registry)) {
        // A panic while registering leaves the registry without one metric, which is no reason to serve none.
        register(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The conditions under which this process is ready.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    fn metrics(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

impl Default for Ops {
    fn default() -> Self {
        Self::new()
    }
}
