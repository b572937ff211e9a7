//! Where the regions stand, when each has a network of its own: `--network FILE`.
//!
//! The file names for each region an address and the network namespace (`ip-netns(8)`) that has it, and the address of what stands outside of all
//! regions. Whoever made the namespaces also removes them. Everything else is as it is on loopback.

use std::{collections::BTreeMap, fs, net::IpAddr, path::Path};

use anyhow::Context;
use serde::Deserialize;

/// The whole network.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Network {
    /// Address of the namespace that this command itself runs in: the simulated provider listens on it.
    pub(crate) outside: IpAddr,
    pub(crate) regions: BTreeMap<String, Place>,
}

/// Where a region's processes run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    pub(crate) address: IpAddr,
    pub(crate) namespace: String,
}

impl Network {
    pub(crate) fn read(file: &Path) -> anyhow::Result<Self> {
        let context = || format!("--network {}", file.display());
        let text = fs::read_to_string(file).with_context(context)?;
        serde_json::from_str(&text).with_context(context)
    }

    pub(crate) fn place(&self, region: &str) -> anyhow::Result<&Place> {
        self.regions.get(region).with_context(|| format!("--network: {region} has no place in it"))
    }
}

impl Place {
    /// What runs a command in this namespace. It executes the command in its own place, so the process keeps its pid.
    pub(crate) fn wrapped(&self, command: Vec<String>) -> Vec<String> {
        let inside = ["ip", "netns", "exec", &self.namespace].map(str::to_owned);
        inside.into_iter().chain(command).collect()
    }
}
