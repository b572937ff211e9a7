//! One network namespace for each region, one for all that is outside of the regions, and a router between them that forwards everything to everybody: what keeps regions
//! apart is to be the product, and never a missing route.
//!
//! ```text
//! us-west-1 10.77.1.2 ──┐
//! us-east-1 10.77.2.2 ──┤ router ├── 10.77.0.2 outside: tests, tenants, operators, providers
//! eu-central-1 10.77.3.2┘
//! ```
//!
//! All of it stands in namespaces, so nothing of the machine's own network is touched, and their names are of this run alone. What was made is removed, whatever happens.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Write,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::Command,
};

use bailiwick_tests::{
    installation::REGIONS,
    network::{Description, Network, Place},
};
use nix::sched::{CloneFlags, setns};
use tempfile::TempDir;

/// The network of one test. Removed on drop.
pub struct Namespaces {
    pub network: Network,
    prefix: String,
    made: Vec<String>,
    folder: TempDir,
}

impl Namespaces {
    /// Errors are failures of the test: without namespaces there is no proof.
    pub fn make() -> Self {
        let root = std::env::var_os("BAILIWICK_E2E_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let folder = tempfile::Builder::new().prefix("wire-").tempdir_in(root).expect("a folder");
        let prefix = format!("bailiwick-{:08x}", rand::random::<u32>());
        let place = |(name, number): (&&str, u8)| {
            let place = Place { address: address(number, 2), namespace: format!("{prefix}-{name}") };
            ((*name).to_owned(), place)
        };
        let regions: BTreeMap<_, _> = REGIONS.iter().zip(1..).map(place).collect();
        let network = Network::write(folder.path(), Description { outside: address(0, 2), regions });
        let mut namespaces = Self { network, prefix, made: Vec::new(), folder };
        namespaces.build();
        namespaces
    }

    fn build(&mut self) {
        let router = self.router();
        self.add(&router);
        self.inside(&router, || {
            fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("the router forwards");
        });
        let outside = self.outside();
        self.connect(&outside, "outside", 0);
        for (name, number) in REGIONS.iter().zip(1..) {
            let namespace = self.of(name);
            self.connect(&namespace, name, number);
        }
    }

    /// Makes a namespace with one interface, whose other end is the router's and has the `link`'s name.
    fn connect(&mut self, namespace: &str, link: &str, number: u8) {
        let router = self.router();
        self.add(namespace);
        ip(&["-n", &router, "link", "add", link, "type", "veth", "peer", "name", "wire", "netns", namespace]);
        let (here, there) = (address(number, 1), address(number, 2));
        ip(&["-n", &router, "addr", "add", &format!("{here}/24"), "dev", link]);
        ip(&["-n", &router, "link", "set", link, "up"]);
        ip(&["-n", namespace, "addr", "add", &format!("{there}/24"), "dev", "wire"]);
        ip(&["-n", namespace, "link", "set", "wire", "up"]);
        ip(&["-n", namespace, "route", "add", "default", "via", &here.to_string()]);
    }

    fn add(&mut self, namespace: &str) {
        ip(&["netns", "add", namespace]);
        self.made.push(namespace.to_owned());
        // For whoever ends this test half-way: what there is to remove.
        let mut list = OpenOptions::new().create(true).append(true).open(self.folder().join("namespaces"));
        writeln!(list.as_mut().expect("a list"), "{namespace}").expect("a list");
        ip(&["-n", namespace, "link", "set", "lo", "up"]);
    }

    /// Does something in a namespace: every socket that it opens and every process that it starts is there. The thread that does it ends with it.
    pub fn inside<T: Send>(&self, namespace: &str, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(Path::new("/run/netns").join(namespace)).expect("the namespace");
        let enter = move || {
            setns(&file, CloneFlags::CLONE_NEWNET).expect("entered");
            work()
        };
        std::thread::scope(|scope| scope.spawn(enter).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The namespace of a region.
    pub fn of(&self, region: &str) -> String {
        self.network.description.regions[region].namespace.clone()
    }

    /// That of tests, tenants, operators and providers.
    pub fn outside(&self) -> String {
        format!("{}-outside", self.prefix)
    }

    /// That in the middle, which sees everything that passes from one to another.
    pub fn router(&self) -> String {
        format!("{}-router", self.prefix)
    }

    /// For this run's files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for namespace in self.made.iter().rev() {
            let _ = Command::new("ip").args(["netns", "delete", namespace]).status();
        }
    }
}

/// Of the end of a link: 1 is the router's, 2 the other.
fn address(link: u8, end: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 77, link, end))
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("iproute2: ./tests/run installs it");
    assert!(
        output.status.success(),
        "ip {}: {} (namespaces need root)",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}
