//! What can be read without a key: endpoints for operation, logs, files.

use std::{collections::HashSet, fs, path::Path};

use bailiwick_tests::{
    calls::Application,
    installation::{Installation, Process},
};
use serde_json::json;

use super::{CREDENTIAL, REGION, echoing, exchange_with};

/// Everything that is secret in a region: the master key, a provider's credential, a key's secret part, private keys.
fn secrets(installation: &Installation) -> Vec<String> {
    let region = installation.region(REGION);
    let master_key =
        fs::read_to_string(region.state_dir.join("control-plane/master.key")).expect("a master key");
    let operator_key = fs::read_to_string(&region.operator_key).expect("a private key");
    let line = operator_key.lines().nth(1).expect("PEM");
    vec![
        master_key.trim().to_owned(),
        CREDENTIAL.to_owned(),
        region.api_key[25..57].to_owned(),
        line.to_owned(),
    ]
}

/// Where processes of this kind have told too much, and where ours tell anything.
const PATHS: [&str; 30] = [
    "/metrics",
    "/healthz",
    "/readyz",
    "/",
    "/health",
    "/health/readiness",
    "/health/services",
    "/debug",
    "/debug/pprof/",
    "/debug/vars",
    "/debug/asyncio-tasks",
    "/config",
    "/config/yaml",
    "/get/config/callbacks",
    "/env",
    "/actuator/env",
    "/info",
    "/routes",
    "/openapi.json",
    "/docs",
    "/v1/models",
    "/model/info",
    "/key/list",
    "/spend/logs",
    "/cache/ping",
    "/.env",
    "/..%2f..%2fconfig.toml",
    "/../config.toml",
    "/metrics/../config.toml",
    "/server-status",
];

fn address_of(process: &Process) -> String {
    process.metrics.replace("http://", "").replace("/metrics", "")
}

#[tokio::test(flavor = "multi_thread")]
async fn operational_endpoints_know_no_secret() {
    let (installation, admin) = echoing(&[]).await;
    let region = installation.region(REGION);
    let application = Application::of(region);
    let _served = application.chat("echo", "spoken", false).await.expect("answer").text().await;
    let _refused =
        application.chat("nothing-of-this-name", "spoken", false).await.expect("answer").text().await;
    let organization = admin.new_organization(REGION).await;
    let mut unsaid = secrets(&installation);
    // Nor who the tenants are, nor what they say.
    unsaid.extend([
        organization,
        region.organization.clone(),
        "nothing-of-this-name".to_owned(),
        "spoken".to_owned(),
    ]);
    // Loopback, or the region's own network.
    let own = region.processes.router.address.rsplit_once(':').expect("host and port").0.to_owned() + ":";
    for process in region.processes.all() {
        let address = address_of(process);
        assert!(address.starts_with(&own), "{} tells whoever asks: {address}", process.name);
        let mut open = HashSet::new();
        for path in PATHS {
            let asked = format!(
                "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
                region.api_key
            );
            let answer = exchange_with(&address, asked).await;
            if answer.starts_with("HTTP/1.1 200") {
                open.insert(path);
            }
            for secret in &unsaid {
                assert!(!answer.contains(secret.as_str()), "{} tells at {path}", process.name);
            }
        }
        assert_eq!(open, HashSet::from(["/metrics", "/healthz", "/readyz"]), "{}", process.name);
        for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS"] {
            let asked = format!(
                "{method} /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            assert!(exchange_with(&address, asked).await.starts_with("HTTP/1.1 405"), "{method}");
        }
    }
    // And the public listener has none of them, with a key or without.
    for path in PATHS.into_iter().filter(|path| *path != "/v1/models") {
        for key in ["", region.api_key.as_str()] {
            let authorization =
                if key.is_empty() { String::new() } else { format!("Authorization: Bearer {key}\r\n") };
            let asked = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{authorization}\r\n");
            let answer = exchange_with(&region.processes.router.address, asked).await;
            assert!(!answer.starts_with("HTTP/1.1 2"), "{path}: {answer}");
        }
    }
}

/// So many characters in a row are no accident: digits of base 62 meet by chance once in 200 million million places.
const PART: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn no_part_of_a_secret_is_written_anywhere() {
    // The most talkative logs that there are.
    let (installation, _admin) = echoing(&[
        ("BAILIWICK_CONTROL_PLANE_TELEMETRY__LOG", "trace"),
        ("BAILIWICK_WORKER_TELEMETRY__LOG", "trace"),
        ("BAILIWICK_ROUTER_TELEMETRY__LOG", "trace"),
    ])
    .await;
    let region = installation.region(REGION);
    let application = Application::of(region);
    for model in ["echo", "no-such-model"] {
        let _ = application.chat(model, "x", true).await.expect("answer").text().await;
    }
    // Mistyped keys, keys in the wrong place, and a provider that refuses the credential.
    let key = &region.api_key;
    let url = format!("{}/models?api_key={key}&key={key}", application.base_url);
    for (name, value) in [
        ("authorization", format!("Bearer {key}x")),
        ("authorization", key.clone()),
        ("x-api-key", key.clone()),
        ("cookie", format!("key={key}")),
    ] {
        let _ = application.http.get(&url).header(name, value).send().await.expect("answer").text().await;
    }
    let body = json!({"organization_name": key, "email": key, "region": "mars-1"});
    let _ = application.post("/signup", &body).await.expect("answer").text().await;
    let known = [CREDENTIAL, &key[25..57]];
    let parts: HashSet<&[u8]> = known.iter().flat_map(|secret| secret.as_bytes().windows(PART)).collect();
    installation.stop();
    let mut searched = 0;
    search(installation.folder(), key, &parts, &mut searched);
    assert!(searched > 30, "only {searched} files were searched");
}

/// Every byte of every file, but for the description that gives the key to programs.
fn search(folder: &Path, key: &str, parts: &HashSet<&[u8]>, searched: &mut usize) {
    for entry in fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            search(&path, key, parts, searched);
            continue;
        }
        let bytes = fs::read(&path).expect("file");
        let given = bytes.windows(key.len()).any(|window| window == key.as_bytes());
        let described = path.file_name().is_some_and(|name| name == "local.json") || is_the_accounts(&path);
        assert!(!given || described, "the whole key stands in {}", path.display());
        if !described {
            let found = bytes.windows(PART).find(|window| parts.contains(window));
            assert!(found.is_none(), "a part of a secret stands in {}", path.display());
        }
        *searched += 1;
    }
}

/// Where the local installation keeps the key that it made, for the next start.
fn is_the_accounts(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "account.json")
}
