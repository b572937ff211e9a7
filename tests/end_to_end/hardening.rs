//! R8 and R4: what a process has in memory leaves no trace of it on its machine: not in a core dump, not in its arguments, not in its environment.

use std::{fs, path::Path};

use bailiwick_tests::{
    eventually,
    installation::Installation,
    process::{binary, runs},
};
use nix::{
    sys::{
        resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit},
        signal::{Signal, kill},
    },
    unistd::Pid,
};

/// Files that look like a core dump, in a folder and below.
fn cores(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() {
            found.extend(cores(&path));
        } else if name == "core" || name.starts_with("core.") {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_no_process_leaves_its_memory_or_a_secret_to_others() {
    // What starts them allows core dumps of any size, as far as it may itself.
    let (_, hard) = getrlimit(Resource::RLIMIT_CORE).expect("limit");
    setrlimit(Resource::RLIMIT_CORE, hard, hard).expect("allowed");
    let installation = Installation::start();
    let region = installation.region("eu-central-1");
    let master_key = fs::read_to_string(region.state_dir.join("control-plane/master.key"));
    let master_key = master_key.expect("the local installation keeps it here");
    let operator_key = fs::read_to_string(&region.operator_key).expect("a key");
    let secrets = [master_key.trim(), region.api_key.as_str(), operator_key.lines().nth(1).expect("PEM")];
    for process in region.processes.all() {
        let read = |name: &str| {
            let bytes = fs::read(format!("/proc/{}/{name}", process.pid)).expect("it runs, and we are root");
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let limits = read("limits");
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a line");
        assert_eq!(core.split_whitespace().rev().take(3).collect::<Vec<_>>(), ["bytes", "0", "0"], "{core}");
        for place in ["cmdline", "environ"] {
            let text = read(place);
            for secret in secrets {
                assert!(!text.contains(secret), "{} has a secret in its {place}", process.name);
            }
        }
    }
    if hard == RLIM_INFINITY {
        let worker = &region.processes.workers[0];
        kill(Pid::from_raw(worker.pid), Signal::SIGABRT).expect("it runs");
        eventually("it has ended", || async { (!runs(worker.pid)).then_some(()) }).await;
        let here = std::env::current_dir().expect("a folder");
        let beside = binary("bailiwick-worker").parent().expect("a folder").to_owned();
        for folder in [installation.folder(), &here] {
            assert_eq!(cores(folder), Vec::<String>::new());
        }
        assert!(!beside.join("core").exists());
    }
}
