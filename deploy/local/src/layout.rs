//! Where everything stands: folders and ports.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::network::{Network, Place};

/// Names of the three regions, in the order of their ports.
pub(crate) const REGIONS: [&str; 3] = ["us-west-1", "us-east-1", "eu-central-1"];
/// Installation that stands in certificates.
pub(crate) const INSTALLATION: &str = "local";
/// Workers of each region.
pub(crate) const WORKERS: usize = 2;
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Ports of a region, when they are counted from a base.
const PORTS_OF_A_REGION: u16 = 20;
/// Port of the name server, when ports are counted from a base: after the last region's.
const NAMES_PORT: u16 = 61;

/// The whole installation.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) state_dir: PathBuf,
    pub(crate) regions: Vec<RegionLayout>,
    pub(crate) provider: SocketAddr,
    /// Where the simulated provider answers for names, over UDP.
    pub(crate) names: SocketAddr,
}

/// One region.
#[derive(Clone, Debug)]
pub(crate) struct RegionLayout {
    pub(crate) name: &'static str,
    pub(crate) dir: PathBuf,
    /// Where its processes run, when that is not simply this machine.
    pub(crate) place: Option<Place>,
    pub(crate) admin: SocketAddr,
    pub(crate) worker_api: SocketAddr,
    pub(crate) enrollment: SocketAddr,
    pub(crate) tokens: SocketAddr,
    pub(crate) control_plane_ops: SocketAddr,
    pub(crate) router: SocketAddr,
    pub(crate) router_ops: SocketAddr,
    pub(crate) workers: Vec<WorkerLayout>,
}

/// One worker.
#[derive(Clone, Debug)]
pub(crate) struct WorkerLayout {
    pub(crate) name: String,
    pub(crate) serve: SocketAddr,
    pub(crate) plain: Option<SocketAddr>,
    pub(crate) ops: SocketAddr,
}

impl Layout {
    /// Errors: the folder cannot be made, the ports do not fit, or the network has no place for a region.
    pub(crate) fn new(
        state_dir: &Path,
        ports_from: Option<u16>,
        plain: bool,
        network: Option<&Network>,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(state_dir).with_context(|| format!("cannot make {}", state_dir.display()))?;
        let state_dir = state_dir.canonicalize()?;
        if let Some(base) = ports_from {
            anyhow::ensure!((1024..=u16::MAX - 100).contains(&base), "--ports-from must be 1024 to 65435");
        }
        let regions = REGIONS.iter().zip(1_u16..).map(|(name, number)| {
            let ports = ports_from.map_or_else(|| Ports::fixed(number), |base| Ports::counted(base, number));
            let place = network.map(|network| network.place(name).cloned()).transpose()?;
            Ok(region(name, state_dir.join(name), &ports, plain, place))
        });
        let regions = regions.collect::<anyhow::Result<_>>()?;
        let outside = network.map_or(LOOPBACK, |network| network.outside);
        let provider = SocketAddr::from((outside, ports_from.unwrap_or(8190)));
        let names = SocketAddr::from((outside, ports_from.map_or(8191, |base| base + NAMES_PORT)));
        Ok(Self { state_dir, regions, provider, names })
    }

    pub(crate) fn description(&self) -> PathBuf {
        self.state_dir.join("local.json")
    }
}

impl RegionLayout {
    /// A program of this region: one of `binaries`, or what runs it where the region is.
    pub(crate) fn program(&self, binaries: &Path, name: &str) -> PathBuf {
        self.launchers().unwrap_or_else(|| binaries.to_owned()).join(name)
    }

    /// Folder of the programs that run others in this region's namespace.
    pub(crate) fn launchers(&self) -> Option<PathBuf> {
        self.place.as_ref().map(|_| self.dir.join("bin"))
    }
}

struct Ports {
    admin: u16,
    worker_api: u16,
    enrollment: u16,
    tokens: u16,
    control_plane_ops: u16,
    router: u16,
    router_ops: u16,
    workers: [(u16, u16, u16); WORKERS],
}

impl Ports {
    /// The ports that the documentation names: the region's number is their last digit, or last but one.
    fn fixed(number: u16) -> Self {
        let worker =
            |index: u16| (7400 + 10 * number + index, 7500 + 10 * number + index, 9110 + 10 * number + index);
        Self {
            admin: 7100 + number,
            worker_api: 7200 + number,
            enrollment: 7300 + number,
            tokens: 7600 + number,
            control_plane_ops: 9100 + number,
            router: 8100 + number,
            router_ops: 9110 + number,
            workers: [worker(1), worker(2)],
        }
    }

    fn counted(base: u16, number: u16) -> Self {
        let first = base + 1 + (number - 1) * PORTS_OF_A_REGION;
        let worker = |index: u16| (first + 6 + 3 * index, first + 7 + 3 * index, first + 8 + 3 * index);
        Self {
            admin: first,
            worker_api: first + 1,
            enrollment: first + 2,
            tokens: first + 12,
            control_plane_ops: first + 3,
            router: first + 4,
            router_ops: first + 5,
            workers: [worker(0), worker(1)],
        }
    }
}

fn region(
    name: &'static str,
    dir: PathBuf,
    ports: &Ports,
    plain: bool,
    place: Option<Place>,
) -> RegionLayout {
    let address = place.as_ref().map_or(LOOPBACK, |place| place.address);
    let at = |port: u16| SocketAddr::from((address, port));
    let workers = ports.workers.iter().enumerate().map(|(index, (serve, plain_port, ops))| WorkerLayout {
        name: format!("worker-{}", index + 1),
        serve: at(*serve),
        plain: plain.then(|| at(*plain_port)),
        ops: at(*ops),
    });
    RegionLayout {
        name,
        place,
        admin: at(ports.admin),
        worker_api: at(ports.worker_api),
        enrollment: at(ports.enrollment),
        tokens: at(ports.tokens),
        control_plane_ops: at(ports.control_plane_ops),
        router: at(ports.router),
        router_ops: at(ports.router_ops),
        workers: workers.collect(),
        dir,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::network::write_launchers;

    fn ports(layout: &Layout) -> Vec<u16> {
        let of_region = |region: &RegionLayout| {
            let own = [
                region.admin,
                region.worker_api,
                region.enrollment,
                region.tokens,
                region.control_plane_ops,
                region.router,
                region.router_ops,
            ];
            let workers = region.workers.iter().flat_map(|w| [Some(w.serve), w.plain, Some(w.ops)]).flatten();
            own.into_iter().chain(workers).map(|address| address.port()).collect::<Vec<_>>()
        };
        layout
            .regions
            .iter()
            .flat_map(of_region)
            .chain([layout.provider.port(), layout.names.port()])
            .collect()
    }

    #[test]
    fn no_two_processes_share_a_port() {
        let folder = tempfile::tempdir().expect("folder");
        for base in [None, Some(20_000)] {
            let all = ports(&Layout::new(folder.path(), base, true, None).expect("layout"));
            let distinct: BTreeSet<_> = all.iter().collect();
            assert_eq!(distinct.len(), all.len(), "{all:?}");
            if base.is_some() {
                assert!(all.iter().all(|port| (20_000..20_070).contains(port)), "{all:?}");
            }
        }
    }

    #[test]
    fn routers_and_admin_apis_stand_on_the_documented_ports() {
        let folder = tempfile::tempdir().expect("folder");
        let layout = Layout::new(folder.path(), None, false, None).expect("layout");
        let found: Vec<_> =
            layout.regions.iter().map(|r| (r.name, r.router.port(), r.admin.port())).collect();
        assert_eq!(
            found,
            [("us-west-1", 8101, 7101), ("us-east-1", 8102, 7102), ("eu-central-1", 8103, 7103)]
        );
    }

    #[test]
    fn a_network_gives_every_region_an_address_of_its_own() {
        let folder = tempfile::tempdir().expect("folder");
        let place = |name: &str, last: u8| {
            let place = Place { address: IpAddr::from([10, 77, last, 2]), namespace: format!("test-{name}") };
            (name.to_owned(), place)
        };
        let regions = REGIONS.iter().zip(1..).map(|(name, last)| place(name, last)).collect();
        let mut network = Network { outside: IpAddr::from([10, 77, 0, 2]), regions };
        let layout = Layout::new(folder.path(), Some(20_000), false, Some(&network)).expect("layout");
        assert_eq!(layout.provider.to_string(), "10.77.0.2:20000");
        for (region, last) in layout.regions.iter().zip(1_u8..) {
            let addresses = [region.admin, region.router, region.workers[0].serve, region.router_ops];
            assert!(addresses.iter().all(|address| address.ip() == IpAddr::from([10, 77, last, 2])));
            write_launchers(region, Path::new("/opt/bailiwick")).expect("launchers");
            let launcher = region.program(Path::new("/opt/bailiwick"), "bailiwick-worker");
            let text = std::fs::read_to_string(launcher).expect("a launcher");
            let runs = format!("exec ip netns exec 'test-{}' '/opt/bailiwick/bailiwick-worker'", region.name);
            assert!(text.contains(&runs), "{text}");
        }
        network.regions.remove("us-east-1");
        assert!(Layout::new(folder.path(), Some(20_000), false, Some(&network)).is_err());
    }
}
