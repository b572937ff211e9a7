//! `bailiwick verify isolation` against three regions that run, as an auditor runs it.

use std::process::{Command, Output};

use bailiwick_tests::{
    admin::Admin,
    installation::{Installation, REGIONS},
    process::{binary, terminate},
};
use serde_json::Value;

fn verify(installation: &Installation, arguments: &[&str]) -> (Output, Value) {
    let report = installation.folder().join("report.json");
    let output = Command::new(binary("bailiwick"))
        .args(["verify", "isolation", "--report"])
        .arg(&report)
        .args(arguments)
        .env("BAILIWICK_LOCAL", installation.folder().join("local.json"))
        .output()
        .expect("bailiwick starts");
    let report = std::fs::read_to_string(&report).map(|text| serde_json::from_str(&text).expect("JSON"));
    (output, report.unwrap_or_default())
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn verdicts<'a>(report: &'a Value, verdict: &str) -> Vec<&'a Value> {
    let attempts = report["attempts"].as_array().expect("attempts");
    attempts.iter().filter(|attempt| attempt["verdict"] == verdict).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn r3_every_attack_on_every_pair_of_regions_is_refused_as_documented() {
    let installation = Installation::start();
    let organizations = async |name: &str| {
        let message = bailiwick_proto::admin::v1::GetRegionRequest {};
        let admin = Admin::of(name, installation.region(name));
        admin.region().get_region(message).await.expect("a region").into_inner().organizations
    };
    let mut before = Vec::new();
    for name in REGIONS {
        before.push(organizations(name).await);
    }
    let (output, report) = verify(&installation, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(report["passed"], true);
    assert_eq!(verdicts(&report, "hole"), Vec::<&Value>::new());
    assert_eq!(verdicts(&report, "unanswered"), Vec::<&Value>::new());
    // On the region's own machine, with a program built for development, everything that is signed well and not good now is at hand.
    let untried = verdicts(&report, "not_attempted").into_iter().filter(|attempt| attempt["attack"] == 16);
    assert_eq!(untried.collect::<Vec<_>>(), Vec::<&Value>::new());
    let attacks: Vec<u64> = report["attacks"]
        .as_array()
        .expect("attacks")
        .iter()
        .filter_map(|attack| attack["number"].as_u64())
        .collect();
    for attack in attacks {
        for (from, to) in REGIONS.iter().flat_map(|from| REGIONS.iter().map(move |to| (from, to))) {
            let refused = verdicts(&report, "refused");
            let of_pair = refused.iter().filter(|attempt| {
                attempt["attack"] == attack && attempt["from"] == **from && attempt["to"] == **to
            });
            assert_eq!(of_pair.count() > 0, from != to, "attack {attack}, {from} on {to}");
        }
    }
    let seconds = (report["ended_micros"].as_i64().expect("a time")
        - report["began_micros"].as_i64().expect("a time"))
        / 1_000_000;
    assert!(seconds < 30, "it took {seconds} s");
    assert_names_what_was_attacked(&report);
    // It tells no secret, and leaves nothing behind.
    assert_eq!(report["left_behind"].as_array().map(Vec::len), Some(0));
    let whole = format!("{}{report}", text(&output));
    for name in REGIONS {
        let region = installation.region(name);
        assert!(!whole.contains(&region.api_key));
        assert!(!whole.contains("_secret") && !whole.contains("bwjoin_") && !whole.contains("PRIVATE KEY"));
    }
    for (name, before) in REGIONS.into_iter().zip(before) {
        assert_eq!(organizations(name).await, before, "{name}");
    }
}

/// An auditor who keeps the report can say later which processes it was of.
fn assert_names_what_was_attacked(report: &Value) {
    let fingerprint = |value: &Value| {
        let text = value.as_str().expect("a fingerprint").to_owned();
        assert!(text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text:?}");
        text
    };
    let mut all = std::collections::BTreeSet::new();
    for region in report["regions"].as_array().expect("regions") {
        for of in ["ca_fingerprint", "control_plane_fingerprint", "operator_fingerprint"] {
            assert!(all.insert(fingerprint(&region[of])), "{of} is another certificate's too");
        }
        let processes = region["processes"].as_array().expect("processes");
        assert_eq!(processes.len(), 3, "two workers and a router: {processes:?}");
        for process in processes {
            assert!(all.insert(fingerprint(&process["certificate_fingerprint"])));
            assert_eq!(process["build"], report["build"], "{process}");
        }
        assert_eq!(region["control_plane_build"], report["build"]);
    }
    let cells = report["table"].as_array().expect("a table");
    assert_eq!(cells.len(), report["attacks"].as_array().map_or(0, Vec::len) * 6);
    assert!(cells.iter().all(|cell| cell["verdict"] == "refused"), "{cells:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_does_not_answer_is_no_proof() {
    let installation = Installation::start();
    let router = installation.region("us-east-1").processes.router.pid;
    terminate(router);
    bailiwick_tests::eventually("the router has ended", || async {
        (!bailiwick_tests::process::runs(router)).then_some(())
    })
    .await;
    let (output, _) = verify(&installation, &["--only", "1"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_another_region_can_open_is_a_hole() {
    let installation = Installation::start();
    // The guard is removed: two regions share a master key.
    let folder = |name: &str| installation.region(name).state_dir.join("control-plane/master.key");
    std::fs::copy(folder("us-west-1"), folder("us-east-1")).expect("copied");
    let (output, report) = verify(&installation, &["--only", "11"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let holes = verdicts(&report, "hole");
    assert!(!holes.is_empty());
    for hole in holes {
        assert!(hole["layer"].as_str().expect("a layer").starts_with("vault"), "{hole}");
        assert!([&hole["from"], &hole["to"]].iter().any(|name| **name == "us-east-1"), "{hole}");
    }
}
