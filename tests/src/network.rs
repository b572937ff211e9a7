//! The network of a run, where each region has a network namespace of its own: addresses, and the ports that are taken.
//!
//! The wire test makes it, and tells the tests that run inside with [`VARIABLE`]. Without it, everything stands on loopback.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// Names the file that describes the network.
pub const VARIABLE: &str = "BAILIWICK_E2E_NETWORK";

/// Where everything stands.
#[derive(Clone, Debug)]
pub struct Network {
    /// What `bailiwick-local up --network` reads.
    pub file: PathBuf,
    /// What the file says.
    pub description: Description,
}

/// As the file has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Description {
    /// Address of the namespace where tests, operators, tenants and providers are.
    pub outside: IpAddr,
    /// By region.
    pub regions: BTreeMap<String, Place>,
}

/// One region's namespace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Place {
    /// Its address on the wire.
    pub address: IpAddr,
    /// Its name, as `ip netns` knows it.
    pub namespace: String,
}

impl Network {
    /// The network that this process was started in.
    pub fn of_this_run() -> Option<Self> {
        let file = PathBuf::from(std::env::var_os(VARIABLE)?);
        let text = fs::read_to_string(&file).expect("the network's file");
        Some(Self { file, description: serde_json::from_str(&text).expect("the network's file") })
    }

    /// Writes the description into a folder of the run.
    pub fn write(folder: &Path, description: Description) -> Self {
        let file = folder.join("network.json");
        for name in ["ports", "planted"] {
            fs::create_dir_all(folder.join(name)).expect("a folder");
        }
        fs::write(&file, serde_json::to_string(&description).expect("JSON")).expect("the network's file");
        Self { file, description }
    }

    /// Where a test listens, so that an installation in this network reaches it; loopback without one.
    pub fn outside_of(network: Option<&Self>) -> IpAddr {
        network.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |network| network.description.outside)
    }

    /// Takes a range of ports for one installation. Whether they are free in the regions' namespaces cannot be asked from outside; nobody is there but who
    /// asked here.
    pub fn claim(&self, base: u16) -> bool {
        File::create_new(self.folder("ports").join(base.to_string())).is_ok()
    }

    /// Where installations tell what they planted.
    pub fn planted(&self) -> PathBuf {
        self.folder("planted")
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.file.parent().expect("a folder").join(name)
    }
}
