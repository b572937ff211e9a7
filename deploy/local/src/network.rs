//! Where the regions stand, when each has a network of its own: `--network FILE`.
//!
//! The file names for each region an address and the network namespace (`ip-netns(8)`) that has it, and the address of what stands outside of all
//! regions. Whoever made the namespaces also removes them. Everything else is as it is on loopback.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use anyhow::Context;
use serde::Deserialize;

use crate::layout::RegionLayout;

const PROGRAMS: [&str; 3] = ["bailiwick-control-plane", "bailiwick-worker", "bailiwick-router"];

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

/// Puts programs into a region's folder that run those of `binaries` in the region's namespace, so that whoever starts one, now or later, does not have to know of it. Each is
/// executed in the launcher's place, and keeps its pid.
///
/// Before anything is started: a file that is open for writing while another process is born cannot be executed.
pub(crate) fn write_launchers(region: &RegionLayout, binaries: &Path) -> anyhow::Result<()> {
    let (Some(place), Some(folder)) = (&region.place, region.launchers()) else { return Ok(()) };
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for name in PROGRAMS {
        let (file, program) = (folder.join(name), binaries.join(name));
        let text =
            format!("#!/bin/sh\nexec ip netns exec '{}' '{}' \"$@\"\n", place.namespace, program.display());
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        fs::set_permissions(&file, Permissions::from_mode(0o755))?;
    }
    Ok(())
}
