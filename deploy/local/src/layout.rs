//! Where everything stands: folders and ports.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::Context;

/// Names of the three regions, in the order of their ports.
pub(crate) const REGIONS: [&str; 3] = ["us-west-1", "us-east-1", "eu-central-1"];
/// Installation that stands in certificates.
pub(crate) const INSTALLATION: &str = "local";
/// Workers of each region.
pub(crate) const WORKERS: usize = 2;
/// Ports of a region, when they are counted from a base.
const PORTS_OF_A_REGION: u16 = 20;

/// The whole installation.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) state_dir: PathBuf,
    pub(crate) regions: Vec<RegionLayout>,
    pub(crate) provider: SocketAddr,
}

/// One region.
#[derive(Clone, Debug)]
pub(crate) struct RegionLayout {
    pub(crate) name: &'static str,
    pub(crate) dir: PathBuf,
    pub(crate) admin: SocketAddr,
    pub(crate) worker_api: SocketAddr,
    pub(crate) enrollment: SocketAddr,
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
    /// Errors: the folder cannot be made, or the ports do not fit.
    pub(crate) fn new(state_dir: &Path, ports_from: Option<u16>, plain: bool) -> anyhow::Result<Self> {
        std::fs::create_dir_all(state_dir).with_context(|| format!("cannot make {}", state_dir.display()))?;
        let state_dir = state_dir.canonicalize()?;
        if let Some(base) = ports_from {
            anyhow::ensure!((1024..=u16::MAX - 100).contains(&base), "--ports-from must be 1024 to 65435");
        }
        let regions = REGIONS.iter().zip(1_u16..).map(|(name, number)| {
            let ports = ports_from.map_or_else(|| Ports::fixed(number), |base| Ports::counted(base, number));
            region(name, state_dir.join(name), &ports, plain)
        });
        let regions = regions.collect();
        let provider = at(ports_from.unwrap_or(8190));
        Ok(Self { state_dir, regions, provider })
    }

    pub(crate) fn description(&self) -> PathBuf {
        self.state_dir.join("local.json")
    }
}

struct Ports {
    admin: u16,
    worker_api: u16,
    enrollment: u16,
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
            control_plane_ops: first + 3,
            router: first + 4,
            router_ops: first + 5,
            workers: [worker(0), worker(1)],
        }
    }
}

fn region(name: &'static str, dir: PathBuf, ports: &Ports, plain: bool) -> RegionLayout {
    let workers = ports.workers.iter().enumerate().map(|(index, (serve, plain_port, ops))| WorkerLayout {
        name: format!("worker-{}", index + 1),
        serve: at(*serve),
        plain: plain.then(|| at(*plain_port)),
        ops: at(*ops),
    });
    RegionLayout {
        name,
        admin: at(ports.admin),
        worker_api: at(ports.worker_api),
        enrollment: at(ports.enrollment),
        control_plane_ops: at(ports.control_plane_ops),
        router: at(ports.router),
        router_ops: at(ports.router_ops),
        workers: workers.collect(),
        dir,
    }
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn ports(layout: &Layout) -> Vec<u16> {
        let of_region = |region: &RegionLayout| {
            let own = [
                region.admin,
                region.worker_api,
                region.enrollment,
                region.control_plane_ops,
                region.router,
                region.router_ops,
            ];
            let workers = region.workers.iter().flat_map(|w| [Some(w.serve), w.plain, Some(w.ops)]).flatten();
            own.into_iter().chain(workers).map(|address| address.port()).collect::<Vec<_>>()
        };
        layout.regions.iter().flat_map(of_region).chain([layout.provider.port()]).collect()
    }

    #[test]
    fn no_two_processes_share_a_port() {
        let folder = tempfile::tempdir().expect("folder");
        for base in [None, Some(20_000)] {
            let all = ports(&Layout::new(folder.path(), base, true).expect("layout"));
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
        let layout = Layout::new(folder.path(), None, false).expect("layout");
        let found: Vec<_> =
            layout.regions.iter().map(|r| (r.name, r.router.port(), r.admin.port())).collect();
        assert_eq!(
            found,
            [("us-west-1", 8101, 7101), ("us-east-1", 8102, 7102), ("eu-central-1", 8103, 7103)]
        );
    }
}
