//! A program of an organization administers it with the operator's own command, and without a certificate.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use bailiwick_tests::{
    admin::Admin,
    installation::{Installation, REGIONS, Region},
    process::binary,
};
use serde_json::Value;

/// `bailiwick` with the contexts of one file, as JSON.
fn bailiwick(contexts: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("bailiwick"));
    let command = command.args(arguments).args(["--output", "json"]).env("BAILIWICK_CONFIG", contexts);
    command.output().expect("bailiwick starts")
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// A folder with contexts: `operator`, and `program` once there is one.
struct Desk {
    folder: tempfile::TempDir,
    region: &'static str,
}

impl Desk {
    fn new(name: &'static str, region: &Region) -> Self {
        let desk = Self { folder: tempfile::tempdir().expect("a folder"), region: name };
        desk.add("operator", region, &[]);
        desk
    }

    fn contexts(&self) -> PathBuf {
        self.folder.path().join("contexts.toml")
    }

    fn add(&self, name: &str, region: &Region, more: &[&str]) {
        let identity = region.operator_cert.parent().expect("a folder").to_str().expect("UTF-8");
        let own = ["context", "add", name, "--region", self.region, "--installation", "local"];
        let addresses =
            ["--admin", &region.admin_addr, "--tokens", &region.tokens_addr, "--identity", identity];
        let added = bailiwick(&self.contexts(), &[&own[..], &addresses[..], more].concat());
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    }

    fn run(&self, context: &str, arguments: &[&str]) -> Output {
        bailiwick(&self.contexts(), &[&["--context", context], arguments].concat())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_administers_its_own_organization_and_nothing_else_until_it_is_revoked() {
    let installation = Installation::start();
    let (name, other_name) = (REGIONS[2], REGIONS[0]);
    let region = installation.region(name);
    let desk = Desk::new(name, region);
    let organization = region.organization.as_str();
    let create =
        ["service-account", "create", "--org", organization, "--name", "deployer", "--role", "admin"];
    let made = json(&desk.run("operator", &create));
    let (id, secret) =
        (made["id"].as_str().expect("an id"), made["service_account_secret"].as_str().expect("one"));
    assert!(secret.starts_with("bwsvc_euc1_"));
    let file = desk.folder.path().join("secret");
    std::fs::write(&file, format!("{secret}\n")).expect("written");
    let file = file.to_str().expect("UTF-8");
    desk.add("program", region, &["--service-account", file]);

    // Its own organization's keys, and its accounts.
    let keys = json(&desk.run("program", &["key", "list", "--org", organization]));
    assert!(!keys.as_array().expect("a list").is_empty(), "{keys}");
    let made =
        json(&desk.run("program", &["key", "create", "--org", organization, "--name", "by a program"]));
    assert!(made["api_key"].as_str().is_some_and(|key| key.starts_with("bw_euc1_")), "{made}");
    // Not another organization's, which looks as if it were not there; not the region's.
    let stranger = Admin::of(name, region).new_organization(name).await;
    let refused = desk.run("program", &["key", "list", "--org", &stranger]);
    assert_eq!(refused.status.code(), Some(5), "{}", String::from_utf8_lossy(&refused.stderr));
    for denied in [&["worker", "status"][..], &["org", "list"], &["region", "info"]] {
        let refused = desk.run("program", denied);
        assert_eq!(
            refused.status.code(),
            Some(4),
            "{denied:?}: {}",
            String::from_utf8_lossy(&refused.stderr)
        );
    }
    // Nor does another region take its secret.
    let elsewhere = Desk::new(other_name, installation.region(other_name));
    elsewhere.add("program", installation.region(other_name), &["--service-account", file]);
    let sent_home = elsewhere.run("program", &["key", "list", "--org", organization]);
    let said = String::from_utf8_lossy(&sent_home.stderr).into_owned();
    assert!(!sent_home.status.success() && said.contains("wrong_region"), "{said}");
    assert!(!said.contains(secret), "a secret in an error");

    let token = json(&desk.run("operator", &["token", "--secret-file", file, "--lifetime", "60s"]));
    assert!(token["token"].as_str().is_some_and(|token| token.split('.').count() == 3), "{token}");
    let revoked = json(&desk.run("operator", &["service-account", "revoke", id, "--yes"]));
    assert_eq!(revoked["status"], "revoked", "{revoked}");
    let refused = desk.run("program", &["key", "list", "--org", organization]);
    assert_eq!(refused.status.code(), Some(4), "{}", String::from_utf8_lossy(&refused.stderr));
}
