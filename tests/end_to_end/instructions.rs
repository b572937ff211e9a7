//! How many instructions a request takes of a worker, on all of its threads, counted by valgrind: a figure that does not depend on how busy the machine is. `./tests/run
//! instructions` builds the worker for it and runs this; the figure to compare with stands in `tests/instructions`.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use bailiwick_tests::{
    calls::Application,
    eventually,
    installation::{Installation, Region},
    process::{Owned, runs, terminate},
};

const REGION: &str = "eu-central-1";
/// Names the worker's program, built with optimization.
const PROGRAM: &str = "BAILIWICK_COUNTED_WORKER";
/// Set, it has the baseline written anew.
const WRITE: &str = "BAILIWICK_WRITE_BASELINE";
const REQUESTS: u64 = 1000;
/// In a hundred: what compilers, allocators and the order of events may make of it.
const TOLERANCE: u64 = 10;
/// Under valgrind everything takes many times as long.
const START_WITHIN: Duration = Duration::from_secs(120);

fn baseline() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions")
}

/// Instructions of a worker that started, served so many requests over one connection, and ended.
async fn counted(region: &Region, program: &str, plain: SocketAddr, requests: u64) -> u64 {
    let [worker, _] = &region.processes.workers[..] else { panic!("two workers") };
    let folder = tempfile::tempdir_in(region.state_dir.parent().expect("a folder")).expect("a folder");
    let out = format!("--callgrind-out-file={}/counted", folder.path().display());
    // A worker that was given variables executes itself anew, see `configuration::take_environment`.
    let mut command: Vec<String> =
        ["valgrind", "--tool=callgrind", "--trace-children=yes", &out, program].map(str::to_owned).into();
    command.extend(worker.command.iter().skip(1).cloned());
    let plain_listen = plain.to_string();
    let environment =
        [("BAILIWICK_WORKER_SERVE__PLAIN_LISTEN", &*plain_listen), ("BAILIWICK_WORKER_SERVE__CORES", "1")];
    let log = worker.log.with_extension("counted.log");
    let mut owned = Owned::start_with(&command, &log, &environment);
    let is_ready = async {
        while !reqwest::get(worker.readyz()).await.is_ok_and(|answer| answer.status().is_success()) {
            assert!(runs(owned.pid()), "{}", fs::read_to_string(&log).unwrap_or_default());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(START_WITHIN, is_ready).await.expect("the worker is ready");
    let application = Application::new(&format!("http://{plain}/v1"), &region.api_key);
    for _ in 0..requests {
        let answer = application.chat(&region.model, "one two three", false).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.bytes().await.expect("whole");
    }
    terminate(owned.pid());
    let ended = tokio::task::spawn_blocking(move || owned.0.wait().expect("it ended")).await.expect("ended");
    assert!(ended.success(), "{}", fs::read_to_string(&log).unwrap_or_default());
    let text = fs::read_to_string(folder.path().join("counted")).expect("what was counted");
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
    total.expect("a sum")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it wants a worker that is built with optimization: ./tests/run instructions"]
async fn a_request_takes_no_more_instructions_than_before() {
    let program = std::env::var(PROGRAM).expect("BAILIWICK_COUNTED_WORKER: ./tests/run instructions sets it");
    let installation = Installation::start();
    let region = installation.region(REGION);
    for worker in &region.processes.workers {
        terminate(worker.pid);
        eventually("it has ended", || async { (!runs(worker.pid)).then_some(()) }).await;
    }
    let plain = SocketAddr::from(([127, 0, 0, 1], installation.spare_port));
    // What differs are the requests: start and end are in both.
    let few = counted(region, &program, plain, REQUESTS).await;
    let many = counted(region, &program, plain, 2 * REQUESTS).await;
    let found = many.saturating_sub(few) / REQUESTS;
    assert!(found > 1000, "{few} {many}");

    if std::env::var_os(WRITE).is_some() {
        fs::write(baseline(), format!("{found}\n")).expect("written");
    }
    let text = fs::read_to_string(baseline()).expect("tests/instructions");
    let expected: u64 = text.trim().parse().expect("a number");
    let percent = 100.0 * found as f64 / expected as f64 - 100.0;
    println!("{found} instructions a request, {percent:+.1} % of {expected} (tests/instructions)");
    if found * 100 < expected * (100 - TOLERANCE) {
        println!("the baseline can be lowered: BAILIWICK_WRITE_BASELINE=1 ./tests/run instructions");
    }
    assert!(
        found * 100 <= expected * (100 + TOLERANCE),
        "a request takes {found} instructions, {percent:+.1} % of {expected}. If it has to, say why, and raise the baseline: BAILIWICK_WRITE_BASELINE=1 ./tests/run instructions"
    );
}
