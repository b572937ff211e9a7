//! R4 and R12: a region comes back from its backup, whom it deleted does not, and what was revoked meanwhile stays revoked.

use std::process::{Command, Output};

use bailiwick_proto::admin::v1::{DeleteOrganizationRequest, GetRegionRequest, RevokeKeyRequest};
use bailiwick_tests::{
    admin::Admin,
    calls::Application,
    eventually,
    installation::{Installation, Process},
    process::{Owned, binary, runs, terminate},
};

const REGION: &str = "eu-central-1";

fn bailiwick(installation: &Installation, arguments: &[&str]) -> Output {
    let local = installation.folder().join("local.json");
    let mut command = Command::new(binary("bailiwick"));
    command
        .args(["--region", REGION])
        .args(arguments)
        .env("BAILIWICK_LOCAL", local)
        .output()
        .expect("it runs")
}

fn offline(process: &Process, arguments: &[&str]) -> Output {
    let configuration = process.command.last().expect("--config FILE");
    // The program that runs where the region is: it asks whether the region's addresses are in use.
    let mut command = Command::new(&process.command[0]);
    command.args(["--config", configuration]).args(arguments).output().expect("it runs")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_a_region_comes_back_from_its_backup_and_whom_it_deleted_does_not() {
    let installation = Installation::start();
    let region = installation.region(REGION);
    let admin = Admin::of(REGION, region);
    let other = admin.new_organization(REGION).await;
    admin.new_credential(&other, "sk-of-somebody-who-leaves").await;
    let (revoked_id, revoked) = admin.new_key(&region.organization).await;

    let before = installation.folder().join("before");
    let made = bailiwick(&installation, &["region", "backup", "--out", &before.display().to_string()]);
    assert!(made.status.success(), "{}", text(&made));
    let again = bailiwick(&installation, &["region", "backup", "--out", &before.display().to_string()]);
    assert!(!again.status.success(), "a backup is never overwritten");
    let bytes = std::fs::read(before.join("data.bailiwick")).expect("the data");
    for secret in ["sk-of-somebody-who-leaves", &region.api_key, "Acme"] {
        assert!(
            !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
            "{secret} is readable"
        );
    }

    // Then somebody leaves, and a key is revoked.
    admin
        .organizations()
        .delete_organization(DeleteOrganizationRequest { id: other.clone() })
        .await
        .expect("deleted");
    admin.keys().revoke_key(RevokeKeyRequest { id: revoked_id }).await.expect("revoked");
    let after = installation.folder().join("after");
    let made = bailiwick(&installation, &["region", "backup", "--out", &after.display().to_string()]);
    assert!(made.status.success(), "{}", text(&made));

    let control_plane = &region.processes.control_plane;
    let from = before.display().to_string();
    let refused = offline(control_plane, &["restore", "--from", &from, "--replace"]);
    assert!(
        !refused.status.success() && text(&refused).contains("stop the region's control plane"),
        "{}",
        text(&refused)
    );
    terminate(control_plane.pid);
    eventually("it has ended", || async { (!runs(control_plane.pid)).then_some(()) }).await;
    let foreign =
        offline(&installation.region("us-east-1").processes.control_plane, &["restore", "--from", &from]);
    assert!(!foreign.status.success(), "{}", text(&foreign));
    // The data of before, with the keys of after: as the operator has them when older keys are deleted in time.
    let keys = after.join("keys.bailiwick").display().to_string();
    let restored = offline(control_plane, &["restore", "--from", &from, "--keys", &keys, "--replace"]);
    assert!(restored.status.success(), "{}", text(&restored));
    let verified = offline(control_plane, &["verify-store"]);
    assert!(verified.status.success(), "{}", text(&verified));

    let _again = Owned::start(&control_plane.command, &control_plane.log.with_extension("again.log"));
    eventually("the control plane is ready", || async {
        reqwest::get(control_plane.readyz())
            .await
            .ok()
            .filter(|answer| answer.status().is_success())
            .map(|_| ())
    })
    .await;
    let application = Application::of(region);
    eventually("completions flow", || async {
        let answer = application.chat(&region.model, "one two", false).await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
    // A control plane that has just begun knows of nothing applied: what it tells, it heard from its workers.
    let restored = admin.region().get_region(GetRegionRequest {}).await.expect("region").into_inner();
    admin.applied(restored.revision).await;
    let gone = Application::new(&region.base_url, &revoked)
        .chat(&region.model, "one", false)
        .await
        .expect("an answer");
    assert_eq!(gone.status().as_u16(), 401, "what was revoked after the backup stays revoked");
}
