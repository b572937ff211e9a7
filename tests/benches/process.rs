//! What processes take: time of processors, and memory.

use std::time::Duration;

/// A subject's processes, with all that they started.
pub struct Processes(Vec<u32>);

impl Processes {
    /// These, and their children.
    pub fn of(pids: &[u32]) -> Self {
        Self(pids.iter().flat_map(|pid| std::iter::once(*pid).chain(children(*pid))).collect())
    }

    /// Time that they have had, in user and in system mode. The kernel counts it in hundredths of a second.
    pub fn processor_time(&self) -> Duration {
        let ticks: u64 = self.0.iter().map(|pid| ticks(*pid)).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Bytes of memory in use.
    pub fn memory_bytes(&self) -> u64 {
        self.0.iter().map(|pid| memory(*pid)).sum()
    }
}

fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Fields 14 and 15 of proc_pid_stat(5), behind the name, which may hold anything.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
    behind.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}
