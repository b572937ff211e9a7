//! How many instructions a request takes of a worker, and of a router in front of one, on all of their threads, counted by valgrind: figures that do not depend on how busy the
//! machine is. `./tests/run instructions` builds both for it and runs this; the figures to compare with stand in `tests/instructions/`.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use bailiwick_tests::{
    calls::Application,
    eventually,
    installation::{Installation, Process, Region},
    process::{Owned, runs, terminate},
};

const REGION: &str = "eu-central-1";
/// Names the folder of the programs that are built with optimization.
const PROGRAMS: &str = "BAILIWICK_COUNTED_PROGRAMS";
/// Set, it has the baselines written anew.
const WRITE: &str = "BAILIWICK_WRITE_BASELINE";
const REQUESTS: u64 = 1000;
/// In a hundred: what compilers, allocators and the order of events may make of it.
const TOLERANCE: u64 = 10;
/// Under valgrind everything takes many times as long.
const START_WITHIN: Duration = Duration::from_secs(120);

/// A process that is started in the place of one that has ended.
struct Counted<'a> {
    region: &'a Region,
    process: &'a Process,
    /// `bailiwick-…`: its program, and its baseline.
    name: &'static str,
    environment: &'a [(&'a str, &'a str)],
    /// Where it is called.
    base_url: String,
}

impl Counted<'_> {
    fn baseline(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions").join(self.name)
    }

    /// Its instructions, when it started, served so many requests over one connection, and ended.
    async fn serves(&self, requests: u64) -> u64 {
        let Self { region, process, .. } = self;
        let programs = std::env::var(PROGRAMS);
        let programs = programs.expect("BAILIWICK_COUNTED_PROGRAMS: ./tests/run instructions sets it");
        let folder = tempfile::tempdir_in(region.state_dir.parent().expect("a folder")).expect("a folder");
        let out = format!("--callgrind-out-file={}/counted", folder.path().display());
        let program = format!("{programs}/{}", self.name);
        // A process that was given variables executes itself anew, see `configuration::take_environment`.
        let mut command: Vec<String> =
            ["valgrind", "--tool=callgrind", "--trace-children=yes", &out, &program]
                .map(str::to_owned)
                .into();
        command.extend(process.command.iter().skip(1).cloned());
        let log = process.log.with_extension("counted.log");
        let mut owned = Owned::start_with(&command, &log, self.environment);
        let is_ready = async {
            while !reqwest::get(process.readyz()).await.is_ok_and(|answer| answer.status().is_success()) {
                assert!(runs(owned.pid()), "{}", fs::read_to_string(&log).unwrap_or_default());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(START_WITHIN, is_ready).await.expect("it is ready");
        let application = Application::new(&self.base_url, &region.api_key);
        for _ in 0..requests {
            let answer = application.chat(&region.model, "one two three", false).await.expect("an answer");
            assert_eq!(answer.status(), 200);
            answer.bytes().await.expect("whole");
        }
        terminate(owned.pid());
        let ended = tokio::task::spawn_blocking(move || owned.0.wait().expect("it ended"));
        assert!(ended.await.expect("ended").success(), "{}", fs::read_to_string(&log).unwrap_or_default());
        let text = fs::read_to_string(folder.path().join("counted")).expect("what was counted");
        let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
        total.expect("a sum")
    }

    async fn takes_no_more_than_before(&self) {
        // What differs are the requests: start and end are in both.
        let few = self.serves(REQUESTS).await;
        let many = self.serves(2 * REQUESTS).await;
        let found = many.saturating_sub(few) / REQUESTS;
        assert!(found > 1000, "{few} {many}");
        if std::env::var_os(WRITE).is_some() {
            fs::write(self.baseline(), format!("{found}\n")).expect("written");
        }
        let name = self.name;
        let text = fs::read_to_string(self.baseline()).expect("a baseline in tests/instructions");
        let expected: u64 = text.trim().parse().expect("a number");
        let percent = 100.0 * found as f64 / expected as f64 - 100.0;
        println!(
            "{name}: {found} instructions a request, {percent:+.1} % of {expected} (tests/instructions)"
        );
        if found * 100 < expected * (100 - TOLERANCE) {
            println!("the baseline can be lowered: BAILIWICK_WRITE_BASELINE=1 ./tests/run instructions");
        }
        assert!(
            found * 100 <= expected * (100 + TOLERANCE),
            "a request takes {found} instructions of {name}, {percent:+.1} % of {expected}. If it has to, say why, and raise the baseline: BAILIWICK_WRITE_BASELINE=1 ./tests/run instructions"
        );
    }
}

async fn end(process: &Process) {
    terminate(process.pid);
    eventually("it has ended", || async { (!runs(process.pid)).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it wants a worker that is built with optimization: ./tests/run instructions"]
async fn a_request_takes_no_more_of_a_worker_than_before() {
    let installation = Installation::start();
    let region = installation.region(REGION);
    let [process, other] = &region.processes.workers[..] else { panic!("two workers") };
    end(process).await;
    end(other).await;
    let plain = SocketAddr::from(([127, 0, 0, 1], installation.spare_port)).to_string();
    let environment =
        [("BAILIWICK_WORKER_SERVE__PLAIN_LISTEN", plain.as_str()), ("BAILIWICK_WORKER_SERVE__CORES", "1")];
    let (name, base_url) = ("bailiwick-worker", format!("http://{plain}/v1"));
    let counted = Counted { region, process, name, environment: &environment, base_url };
    counted.takes_no_more_than_before().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it wants a router that is built with optimization: ./tests/run instructions"]
async fn a_request_takes_no_more_of_a_router_than_before() {
    let installation = Installation::start();
    let region = installation.region(REGION);
    let process = &region.processes.router;
    end(process).await;
    let environment = [("BAILIWICK_ROUTER_SERVE__CORES", "1")];
    let (name, base_url) = ("bailiwick-router", region.base_url.clone());
    let counted = Counted { region, process, name, environment: &environment, base_url };
    counted.takes_no_more_than_before().await;
}
