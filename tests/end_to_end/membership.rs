//! Who is a member of its region, and who is shut out.

use std::{path::Path, time::Instant};

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
async fn bailiwick(installation: &Installation, arguments: &[&str]) -> (bool, String) {
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
fn identity_of(region: &Region, process: &Process) -> Identity {
    let trust_domain = operator(REGION, region).trust_domain().clone();
    let folder = region.state_dir.join(&process.name).join("identity");
    Identity::load_dir(&folder, trust_domain).expect("its certificate")
}

/// Whether a server closes the connection of this identity before it has said a word to it.
async fn shut_out(identity: &Identity, expected: ProcessRole, address: &str) -> bool {
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

fn worker_api(region: &Region) -> String {
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
    let stolen = identity_of(region, worker);
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
    let stolen = identity_of(region, router);
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
