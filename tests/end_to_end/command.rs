//! The operator's command against a running region, and against one that is down.

use std::process::{Command, Output};

use bailiwick_tests::{
    admin::Admin,
    installation::{Installation, REGIONS},
    process::binary,
};
use serde_json::Value;

/// Runs `bailiwick` for a region of the installation.
fn bailiwick(installation: &Installation, region: &str, arguments: &[&str]) -> Output {
    Command::new(binary("bailiwick"))
        .args(["--region", region])
        .args(arguments)
        .env("BAILIWICK_LOCAL", installation.folder().join("local.json"))
        .env("BAILIWICK_CONFIG", installation.folder().join("no-contexts.toml"))
        .output()
        .expect("bailiwick starts")
}

/// Asks about a whole key.
fn explain(installation: &Installation, key: &str, more: &[&str]) -> Output {
    let file = installation.folder().join("asked-about");
    std::fs::write(&file, key).expect("written");
    let mut command = Command::new(binary("bailiwick"));
    command.args(["--region", "eu-central-1", "config", "explain", "-"]).args(more);
    command.env("BAILIWICK_LOCAL", installation.folder().join("local.json"));
    command.env("BAILIWICK_CONFIG", installation.folder().join("no-contexts.toml"));
    command.stdin(std::fs::File::open(&file).expect("a file"));
    command.output().expect("bailiwick starts")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_looks_at_each_region_revokes_a_key_and_finds_out_what_is_down() {
    let installation = Installation::start();
    for name in REGIONS {
        let checked = bailiwick(&installation, name, &["check"]);
        assert_eq!(checked.status.code(), Some(0), "{}", text(&checked));
    }
    let (here, other) = (installation.region("eu-central-1"), installation.region("us-west-1"));
    let (id, key) = Admin::of("eu-central-1", here).new_key(&here.organization).await;

    // Arguments are shown in process lists: a whole key is refused there, and read from the standard input.
    let shown = bailiwick(&installation, "eu-central-1", &["config", "explain", &key]);
    assert_eq!(shown.status.code(), Some(2), "{}", text(&shown));
    assert!(!text(&shown).contains(&key), "{}", text(&shown));
    let explained = explain(&installation, &key, &["--model", &here.model]);
    assert_eq!(explained.status.code(), Some(0), "{}", text(&explained));
    let foreign = explain(&installation, &other.api_key, &[]);
    assert_eq!(foreign.status.code(), Some(1), "{}", text(&foreign));
    assert!(text(&foreign).contains("us-west-1"), "{}", text(&foreign));

    let revoked = bailiwick(&installation, "eu-central-1", &["-o", "json", "key", "revoke", &id, "--wait"]);
    assert_eq!(revoked.status.code(), Some(0), "{}", text(&revoked));
    let told: Value = serde_json::from_slice(&revoked.stdout).expect("JSON and nothing else");
    assert!(told.to_string().contains("revoked"), "{told}");
    let unknown = bailiwick(
        &installation,
        "eu-central-1",
        &["key", "revoke", &id.replace("key_euc1_", "key_euc1_0").chars().take(25).collect::<String>()],
    );
    assert_eq!(unknown.status.code(), Some(5), "{}", text(&unknown));
    assert!(!text(&explained).contains(&key), "a key is never repeated");

    installation.stop();
    let down = bailiwick(&installation, "eu-central-1", &["org", "list"]);
    assert_eq!(down.status.code(), Some(3), "{}", text(&down));
    let diagnosed = bailiwick(&installation, "eu-central-1", &["diagnose"]);
    assert_eq!(diagnosed.status.code(), Some(1), "{}", text(&diagnosed));
    assert!(text(&diagnosed).contains("does not run"), "{}", text(&diagnosed));
}
