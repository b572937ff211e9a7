//! Who is a member of its region, and who is shut out.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use bailiwick_domain::spiffe::ProcessRole;
use bailiwick_runtime::identity::{Connector, Identity};
use bailiwick_tests::{
    admin::{Admin, operator},
    calls::Application,
    eventually,
    installation::{Installation, Process, Region},
    process::{binary, runs},
};
use tokio::{io::AsyncReadExt, process::Command};

const REGION: &str = "eu-central-1";

/// The operator's command against this installation's region; its exit code and what it wrote.
pub(super) async fn bailiwick(installation: &Installation, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(binary("bailiwick"))
        .args(["--region", REGION])
        .args(arguments)
        .env("BAILIWICK_LOCAL", installation.folder().join("local.json"))
        .env("BAILIWICK_CONFIG", installation.folder().join("no-contexts.toml"))
        .output()
        .await
        .expect("the command starts");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// What the process is, as its files said when it ran.
pub(super) fn identity_of(region: &Region, name: &str, process: &Process) -> Identity {
    find_identity_of(region, name, process).expect("its certificate")
}

/// `None`: while it is being replaced.
fn find_identity_of(region: &Region, name: &str, process: &Process) -> Option<Identity> {
    let trust_domain = operator(name, region).trust_domain().clone();
    let folder = region.state_dir.join(&process.name).join("identity");
    Identity::load_dir(&folder, trust_domain).ok()
}

/// Whether a server closes the connection of this identity before it has said a word to it.
pub(super) async fn shut_out(identity: &Identity, expected: ProcessRole, address: &str) -> bool {
    let connector = Connector::new(identity.clone(), expected).expect("connector");
    let Ok(mut stream) = connector.connect(address.parse().expect("address")).await else { return true };
    let mut byte = [0_u8; 1];
    let waited = tokio::time::timeout(std::time::Duration::from_millis(300), stream.read(&mut byte)).await;
    // Who is let in waits: a server of HTTP/1.1 speaks second.
    waited.is_ok_and(|read| !matches!(read, Ok(1)))
}

async fn readiness(process: &Process) -> String {
    match reqwest::get(process.readyz()).await {
        Ok(answer) => answer.text().await.unwrap_or_default(),
        Err(_) => String::new(),
    }
}

pub(super) fn worker_api(region: &Region) -> String {
    let file = region.state_dir.join("worker-1").join("config.toml");
    let text = std::fs::read_to_string(file).expect("its configuration");
    let address = text.lines().find_map(|line| line.strip_prefix("address = "));
    address.expect("the control plane's").trim_matches('"').to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn r3_a_revoked_worker_is_shut_out_within_a_heartbeat_and_says_so() {
    let installation = Installation::start();
    let region = installation.region(REGION);
    let admin = Admin::of(REGION, region);
    let [worker, other] = &region.processes.workers[..] else { panic!("two workers") };
    let stolen = identity_of(region, REGION, worker);
    assert!(!shut_out(&operator(REGION, region), ProcessRole::Worker, &worker.address).await);

    let id = admin.workers().await.into_iter().find(|row| row.name == worker.name).expect("enrolled").id;
    let since = Instant::now();
    let (done, said) = bailiwick(&installation, &["worker", "revoke", &id, "--yes", "--wait"]).await;
    assert!(done, "{said}");
    eventually("the worker says that it is revoked", || async {
        readiness(worker).await.contains("revoked").then_some(())
    })
    .await;
    println!("shut out and aware of it {} ms after the command began", since.elapsed().as_millis());
    assert!(since.elapsed().as_secs() < 5, "a heartbeat is two seconds");
    assert!(runs(worker.pid), "it lives on, to say why");
    assert!(shut_out(&operator(REGION, region), ProcessRole::Worker, &worker.address).await);
    assert!(shut_out(&stolen, ProcessRole::ControlPlane, &worker_api(region)).await);
    let folder = region.state_dir.join(&worker.name).join("identity");
    assert!(!Identity::exists(&folder), "its key is gone");

    // The other one serves every call.
    let application = Application::of(region);
    for _ in 0..10 {
        let answer = application.chat(&region.model, "hello", false).await.expect("answer");
        assert_eq!(answer.status(), 200);
    }
    assert!(readiness(other).await.contains("\"ready\":true"));
}

#[tokio::test(flavor = "multi_thread")]
async fn r3_a_revoked_router_sends_no_calls() {
    let installation = Installation::start();
    let region = installation.region(REGION);
    let admin = Admin::of(REGION, region);
    let router = &region.processes.router;
    let stolen = identity_of(region, REGION, router);
    for worker in &region.processes.workers {
        assert!(!shut_out(&stolen, ProcessRole::Worker, &worker.address).await);
    }
    let id = admin.workers().await.into_iter().find(|row| row.role == "router").expect("enrolled").id;
    let (done, said) = bailiwick(&installation, &["worker", "revoke", &id, "--yes", "--wait"]).await;
    assert!(done, "{said}");
    for worker in &region.processes.workers {
        assert!(shut_out(&stolen, ProcessRole::Worker, &worker.address).await, "{}", worker.name);
    }
    eventually("the router says that it is revoked", || async {
        readiness(router).await.contains("revoked").then_some(())
    })
    .await;
    eventually("and admits nobody", || async {
        Application::of(region).chat(&region.model, "hello", false).await.err()
    })
    .await;
    assert!(Path::new(&router.log).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_is_changed_under_load_without_a_failed_call() {
    let installation = Installation::start();
    let region = installation.region(REGION);
    let (worker, router) = (&region.processes.workers[0], &region.processes.router);
    let before = identity_of(region, REGION, worker).root_fingerprint();
    let stale = operator(REGION, region);
    let load = Load::on(region);
    load.served(50).await;
    let (done, said) =
        bailiwick(&installation, &["region", "rotate-authority", "--wait", "-o", "json"]).await;
    assert!(done && said.contains("\"issuing\""), "{said}");
    assert!(said.contains("operator local"), "it waits for the operator's certificate: {said}");
    for process in [worker, router] {
        // The command knows what was issued; whoever it was issued to keeps it a moment later.
        eventually("it has a certificate under the new root", || async {
            let identity = find_identity_of(region, REGION, process)?;
            (identity.root_fingerprint() != before).then_some(())
        })
        .await;
    }
    load.served(50).await;
    // The operator's certificate is issued anew, into the place of the old one, and the old root goes.
    let folder = region.operator_cert.parent().expect("a folder");
    let config = region.state_dir.join("control-plane").join("config.toml");
    let issued = Command::new(binary("bailiwick-control-plane"))
        .args(["issue-certificate", "--role", "operator", "--name", "local", "--out"])
        .arg(folder)
        .arg("--config")
        .arg(config)
        .status();
    assert!(issued.await.expect("the command starts").success());
    let (done, said) =
        bailiwick(&installation, &["region", "rotate-authority", "--force", "--wait", "-o", "json"]).await;
    assert!(done && said.contains("\"settled\""), "{said}");
    eventually("every process trusts the new root alone", || async {
        let alone = |process: &Process| identity_of(region, REGION, process).trusted_roots().len() == 1;
        (region.processes.workers.iter().all(alone) && alone(router)).then_some(())
    })
    .await;
    load.served(50).await;
    assert_eq!(load.stop().await, 0, "calls failed");
    assert!(shut_out(&stale, ProcessRole::ControlPlane, &region.admin_addr).await, "the old root is gone");
    let (done, said) = bailiwick(&installation, &["region", "authority"]).await;
    assert!(done && said.contains("settled"), "{said}");
}

/// Callers who call without a pause.
struct Load {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicU64>,
    bad: Arc<AtomicU64>,
    callers: tokio::task::JoinSet<()>,
}

impl Load {
    fn on(region: &Region) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (good, bad) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (application, model, stop) =
                (Application::of(region), region.model.clone(), Arc::clone(&stop));
            let (good, bad) = (Arc::clone(&good), Arc::clone(&bad));
            callers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let answer = application.chat(&model, "hello", false).await;
                    let served = answer.is_ok_and(|answer| answer.status() == 200);
                    if served { &good } else { &bad }.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { stop, good, bad, callers }
    }

    /// Waits until so many more calls were served.
    async fn served(&self, more: u64) {
        let goal = self.good.load(Ordering::Relaxed) + more;
        eventually("callers are served", || async {
            (self.good.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }

    /// How many calls failed.
    async fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        while self.callers.join_next().await.is_some() {}
        self.bad.load(Ordering::Relaxed)
    }
}
