//! The ground gives way under a worker: its disk, its memory, its certificate. It says so, loses nothing, recovers by itself, and nothing crosses a border meanwhile.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use bailiwick_domain::spiffe::ProcessRole;
use bailiwick_proto::admin::v1::{GetRegionRequest, WorkerState};
use bailiwick_tests::{
    admin::{Admin, operator},
    calls::{Application, refusal},
    eventually,
    installation::{Installation, Process, Region},
    process::{Owned, binary, kill_hard, runs, terminate},
};
use serde_json::{Value, json};

use crate::{
    crash::{Load, assert_exact, ready},
    membership::{identity_of, shut_out, worker_api},
};

const REGION: &str = "eu-central-1";

/// Text of a URL; empty when nobody answers.
async fn text(url: &str) -> String {
    match reqwest::get(url).await {
        Ok(answer) => answer.text().await.unwrap_or_default(),
        Err(_) => String::new(),
    }
}

/// A figure of a process.
async fn figure(process: &Process, name: &str) -> f64 {
    let metrics = text(&process.metrics).await;
    let value = metrics.lines().find_map(|line| line.strip_prefix(&format!("bailiwick_{name} ")));
    value.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().expect("a number")
}

async fn says(process: &Process, what: &str) {
    eventually(what, || async { text(&process.readyz()).await.contains(what).then_some(()) }).await;
}

/// The only worker of its region, started again by `before` and with these variables.
struct Alone {
    process: Process,
    log: PathBuf,
    owned: Owned,
}

impl Alone {
    async fn start(region: &Region, before: &[&str], environment: &[(&str, &str)]) -> Self {
        let [process, other] = &region.processes.workers[..] else { panic!("two workers") };
        for worker in [process, other] {
            terminate(worker.pid);
            eventually("it has ended", || async { (!runs(worker.pid)).then_some(()) }).await;
        }
        let before = before.iter().map(ToString::to_string);
        let command: Vec<String> = before.chain(process.command.iter().cloned()).collect();
        let log = process.log.with_extension("again.log");
        let owned = Owned::start_with(&command, &log, environment);
        ready(process).await;
        let application = Application::of(region);
        eventually("the router has found it", || async {
            let answer = application.chat(&region.model, "hello", false).await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        Self { process: process.clone(), log, owned }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("a log")
    }
}

/// A small disk, made in memory. Only root can: where it cannot be made the test fails.
struct Disk(PathBuf);

impl Disk {
    fn of(folder: &Path, bytes: usize) -> Self {
        fs::create_dir_all(folder).expect("a folder");
        let options = format!("size={bytes}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder).status();
        assert!(mounted.expect("mount").success(), "a disk of its own takes root");
        Self(folder.to_owned())
    }

    /// Somebody else takes all that is left.
    fn fill(&self) -> PathBuf {
        let file = self.0.join("somebody-elses");
        let error = fs::write(&file, vec![7; 64 << 20]).expect_err("it is smaller");
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        file
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn verify(installation: &Installation, report: &Path) -> Output {
    let mut command = Command::new(binary("bailiwick"));
    command.args(["verify", "isolation", "--report"]).arg(report);
    command.env("BAILIWICK_LOCAL", installation.folder().join("local.json"));
    command.output().expect("it starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// Attacks every region from every other, as it stands: every attempt is refused, and as documented.
fn attack(installation: &Installation) {
    let file = installation.folder().join("faults.json");
    let output = verify(installation, &file);
    let report = fs::read_to_string(&file).unwrap_or_else(|_| panic!("{}", said(&output)));
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let attempts = report["attempts"].as_array().expect("attempts");
    let with =
        |verdict: &str| attempts.iter().filter(|attempt| attempt["verdict"] == verdict).collect::<Vec<_>>();
    for verdict in ["hole", "unanswered"] {
        assert!(with(verdict).is_empty(), "{:#?}", with(verdict));
    }
    assert!(with("refused").len() > 100, "{} attempts were refused", with("refused").len());
    assert_eq!((output.status.code(), &report["passed"]), (Some(0), &json!(true)));
}

/// What the command cannot attack while a control plane is away: neither keys nor certificates pass from one region into the other, nor does what has expired.
async fn borders_stand(installation: &Installation) {
    let here = installation.region(REGION);
    for other in ["us-west-1", "us-east-1"] {
        let there = installation.region(other);
        for (key, router) in [(&there.api_key, here), (&here.api_key, there)] {
            let answer = Application::new(&router.base_url, key).chat("any", "hello", false).await;
            let refused = refusal(answer.expect("an answer")).await;
            assert_eq!((refused.status.as_u16(), refused.code.as_str()), (421, "wrong_region"));
        }
        for worker in &here.processes.workers {
            assert!(shut_out(&operator(other, there), ProcessRole::Worker, &worker.address).await);
            let router = identity_of(there, other, &there.processes.router);
            assert!(shut_out(&router, ProcessRole::Worker, &worker.address).await);
            let expired = identity_of(here, REGION, worker);
            assert!(shut_out(&expired, ProcessRole::ControlPlane, &worker_api(there)).await);
            assert!(shut_out(&expired, ProcessRole::Worker, &there.processes.workers[0].address).await);
        }
    }
}

/// Who calls is told that usage cannot be recorded.
async fn refused(region: &Region, code: &str) {
    let application = Application::of(region);
    eventually(code, || async {
        let answer = application.chat(&region.model, "hello", false).await.ok()?;
        if answer.status().is_success() {
            return None;
        }
        assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
        let refused = refusal(answer).await;
        assert_eq!((refused.status.as_u16(), refused.code.as_str()), (503, code));
        Some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r10_a_worker_whose_disk_is_full_says_so_loses_nothing_and_recovers() {
    let installation = Installation::start();
    let region = installation.region(REGION);
    let disk = Disk::of(&installation.folder().join("small-disk"), 1 << 20);
    let journal = disk.0.join("journal");
    let journal = ("BAILIWICK_WORKER_JOURNAL__DIR", journal.to_str().expect("a path"));
    let worker = Alone::start(region, &[], &[journal]).await;
    let load = Load::start(region);
    load.more(100).await;

    // Somebody else fills the disk, and the control plane is there.
    let full = disk.fill();
    says(&worker.process, "the disk of journal.dir takes no usage").await;
    // Asked after that: a call that were served here would be one that the load knows nothing of.
    refused(region, "usage_journal_full").await;
    assert!(figure(&worker.process, "journal_unwritable").await >= 1.0);
    assert!(figure(&worker.process, "journal_disk_failures_total").await >= 1.0);
    assert!(worker.log().contains("the usage journal cannot be written"));
    attack(&installation);
    fs::remove_file(full).expect("removed");
    says(&worker.process, "\"ready\":true,\"conditions\"").await;
    assert_eq!(figure(&worker.process, "journal_unwritable").await, 0.0);
    load.more(100).await;

    // Its own usage fills the disk, because the control plane is away.
    let control_plane = &region.processes.control_plane;
    kill_hard(control_plane.pid);
    says(&worker.process, "the disk of journal.dir takes no usage").await;
    // Asked after that: a call that were served here would be one that the load knows nothing of.
    refused(region, "usage_journal_full").await;
    let _again = Owned::start(&control_plane.command, &control_plane.log.with_extension("again.log"));
    says(&worker.process, "\"ready\":true,\"conditions\"").await;
    load.more(100).await;

    let served = load.finish().await;
    assert_exact(&Admin::of(REGION, region), &region.organization, &served).await;
    assert!(runs(worker.owned.pid()));
    // Everything of it is sent: what is left are the segments that are written.
    eventually("nothing waits", || async {
        (figure(&worker.process, "usage_unsent_events").await == 0.0).then_some(())
    })
    .await;
    drop((worker, disk));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_holds_all_that_it_may_refuses_more_and_recovers() {
    const CALLERS: usize = 200;
    let installation = Installation::start();
    let region = installation.region(REGION);
    let admin = Admin::of(REGION, region);
    let credential = admin.new_credential(&region.organization, "key").await;
    let model =
        admin.new_model(&region.organization, "hang", &installation.provider, "simulated-hang", &credential);
    let model = model.await;
    admin.applied(model).await;
    // Beyond this, an allocation fails, and whoever cannot allocate ends.
    let worker = Alone::start(region, &["prlimit", "--as=1073741824"], &[]).await;
    let max = figure(&worker.process, "held_max_bytes").await;
    assert!(max > 64e6 && max < 512e6, "a part of the limit: {max}");

    // More than it may hold at once, and more than there is. The provider never answers, so what is taken is held.
    let large = "x".repeat(8 << 20);
    let body = json!({"model": "hang", "messages": [{"role": "user", "content": large}]}).to_string();
    let body = bytes::Bytes::from(body);
    let application = Application::of(region);
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let request = application.http.post(format!("{}/chat/completions", application.base_url));
        let request = request.bearer_auth(&application.key).header("content-type", "application/json");
        let request = request.body(body.clone());
        callers.spawn(async move { request.send().await });
    }
    let mut overloaded = 0;
    let least = CALLERS - max as usize / body.len() / 2 - 1;
    while overloaded < least {
        let next = tokio::time::timeout(Duration::from_secs(60), callers.join_next()).await;
        let answer =
            next.expect("in time").expect("callers").expect("no panic").expect("an answer, not a reset");
        assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
        let refused = refusal(answer).await;
        assert_eq!((refused.status.as_u16(), refused.code.as_str()), (503, "worker_overloaded"));
        overloaded += 1;
    }
    assert!(figure(&worker.process, "held_bytes").await <= max);
    assert!(figure(&worker.process, "overloaded_refusals_total").await >= overloaded as f64);
    assert!(worker.log().contains("the worker holds as many bytes of bodies as it may"));
    // Others are served meanwhile, and the borders stand.
    for _ in 0..20 {
        let answer = application.chat(&region.model, "a small one", false).await.expect("an answer");
        assert_eq!(answer.status(), 200);
    }
    attack(&installation);
    // Load goes, room comes.
    drop(callers);
    eventually("a large call is served again", || async {
        let answer = application.chat(&region.model, &large, false).await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
    assert!(worker.log().contains("there is room for bodies again"));
    assert!(runs(worker.owned.pid()), "it is the same process");
}

/// Beside `certificates`, where nobody attacks meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn r3_certificates_that_expire_open_no_border() {
    let life = ("BAILIWICK_CONTROL_PLANE_IDENTITY__CERTIFICATE_LIFETIME_SECONDS", "20");
    let installation = Installation::start_with(&[life]);
    let region = installation.region(REGION);
    let control_plane = &region.processes.control_plane;
    kill_hard(control_plane.pid);
    let members = || region.processes.workers.iter().chain([&region.processes.router]);
    for process in members() {
        eventually("it says beforehand that its certificate ends, and is ready", || async {
            let said = text(&process.readyz()).await;
            (said.contains("the certificate ends soon") && said.starts_with("{\"ready\":true")).then_some(())
        })
        .await;
    }
    for process in members() {
        says(process, "the certificate has expired").await;
        let log = fs::read_to_string(&process.log).expect("a log");
        assert!(log.contains("the certificate ends soon, and no renewal has succeeded"), "{log}");
    }
    // A region that does not answer is no proof, and is said to be none.
    let verified = verify(&installation, &installation.folder().join("unproven.json"));
    assert_eq!(verified.status.code(), Some(1), "{}", said(&verified));
    assert!(said(&verified).contains(REGION), "{}", said(&verified));
    borders_stand(&installation).await;
    // It issues certificates that last from now on: no stream ends with one while a new key is on its way to the workers.
    let _again = Owned::start(&control_plane.command, &control_plane.log.with_extension("again.log"));
    for process in members() {
        says(process, "\"ready\":true,\"conditions\"").await;
    }
    // Who comes back serves by what it held, and hears of what is new when it is subscribed again: keys of the attack must not come before that.
    let admin = Admin::of(REGION, region);
    let now = admin.region().get_region(GetRegionRequest {}).await.expect("the region").into_inner();
    admin.applied(now.revision).await;
    eventually("nobody is away", || async {
        let workers = admin.workers().await;
        workers.iter().all(|worker| worker.state() == WorkerState::Ready).then_some(())
    })
    .await;
    attack(&installation);
}
