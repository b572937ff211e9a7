//! What the machine gives this process: how much memory it may use, how many files it may open, and how much a disk still takes. For bounds that fit where a process
//! happens to run.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    statvfs::statvfs,
};

/// Where the kernel shows control groups, version 2 or both; and version 1's memory controller.
const GROUPS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
const GROUPS_V1: &str = "/sys/fs/cgroup/memory";

/// Bytes of memory that this process may still take: the least of what its control groups, its resource limits and the machine allow. `None` where the
/// system does not say.
pub fn memory_bytes() -> Option<u64> {
    [group_bytes(), limit_bytes(), machine_bytes()].into_iter().flatten().min()
}

/// Bytes that the disk under a folder still takes from this process.
///
/// # Errors
/// There is no such folder.
pub fn disk_free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = statvfs(folder)?;
    Ok(disk.blocks_available().saturating_mul(disk.fragment_size()))
}

/// Takes as many file descriptors as this process may have, and says how many: every connection is one, and what systems allow by default is meant for programs that
/// have few. `None` where the system does not say, or does not let it.
pub fn take_descriptors() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).ok()?;
    }
    Some(hard)
}

/// Of address space and data (setrlimit(2)), what is not used yet. Allocations fail beyond it, and a process that cannot allocate ends.
fn limit_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let left = |resource, used: &str| {
        let (soft, _) =
            getrlimit(resource).ok().filter(|(soft, _)| *soft != nix::sys::resource::RLIM_INFINITY)?;
        Some(soft.saturating_sub(kilobytes(&status, used).unwrap_or_default()))
    };
    let limits = [left(Resource::RLIMIT_AS, "VmSize:"), left(Resource::RLIMIT_DATA, "VmData:")];
    limits.into_iter().flatten().min()
}

fn machine_bytes() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")
}

/// A line such as `MemTotal:  16384 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The least limit of the groups that this process is in, up to the root (cgroups(7)).
fn group_bytes() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let limits = groups.lines().flat_map(limit_files).filter_map(|file| {
        // `max`, and version 1's largest number, are no limit.
        fs::read_to_string(file).ok()?.trim().parse::<u64>().ok().filter(|bytes| *bytes < 1 << 60)
    });
    limits.min()
}

/// Files that may limit the group of a line of `/proc/self/cgroup`: `0::/a/b`, or `8:memory:/a/b`.
fn limit_files(line: &str) -> Vec<PathBuf> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { return Vec::new() };
    let (roots, file): (&[&str], &str) = match controllers {
        "" => (&GROUPS, "memory.max"),
        some if some.split(',').any(|one| one == "memory") => (&[GROUPS_V1], "memory.limit_in_bytes"),
        _ => return Vec::new(),
    };
    let group = Path::new(path.trim_start_matches('/'));
    let below = |root: &&str| {
        let root = PathBuf::from(root);
        group.ancestors().map(move |group| root.join(group).join(file)).collect::<Vec<_>>()
    };
    roots.iter().flat_map(below).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_memory_and_disk() {
        assert!(memory_bytes().expect("Linux says it") > 1 << 20);
        let folder = tempfile::tempdir().expect("folder");
        assert!(disk_free_bytes(folder.path()).expect("a folder") > 0);
        assert!(disk_free_bytes(Path::new("/no/such/folder")).is_err());
    }

    #[test]
    fn a_process_takes_the_descriptors_that_it_may_have() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("limit");
        setrlimit(Resource::RLIMIT_NOFILE, hard.min(1024), hard).expect("less is allowed");
        assert_eq!(take_descriptors(), Some(hard));
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).expect("limit"), (hard, hard));
    }

    #[test]
    fn every_group_up_to_the_root_may_limit() {
        let files = limit_files("0::/system.slice/bailiwick.service");
        let first = Path::new("/sys/fs/cgroup/system.slice/bailiwick.service/memory.max");
        assert_eq!(files.first().map(PathBuf::as_path), Some(first));
        assert!(files.contains(&PathBuf::from("/sys/fs/cgroup/memory.max")), "{files:?}");
        assert_eq!(limit_files("8:memory:/").len(), 1);
        assert!(limit_files("3:cpu,cpuacct:/x").is_empty() && limit_files("nonsense").is_empty());
    }
}
