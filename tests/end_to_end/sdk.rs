//! The unmodified SDKs of OpenAI and Anthropic, for Python and for Node, with `base_url` and `api_key` changed and nothing else: in each region, and on every endpoint.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use bailiwick_tests::{
    admin::Admin,
    eventually,
    installation::{Installation, REGIONS},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_sdks_work_in_every_region_by_base_url_and_key_alone() {
    let python = prepared("BAILIWICK_SDK_PYTHON");
    let script = script("regions.py");
    let installation = Installation::start();
    for (name, other) in REGIONS.into_iter().zip(REGIONS.into_iter().cycle().skip(1)) {
        let (region, foreign) = (installation.region(name), installation.region(other));
        let admin = Admin::of(name, region);
        let credential = admin.new_credential(&region.organization, "key").await;
        let mut revision = 0;
        for model in ["status-429", "status-500", "status-400", "echo", "tools"] {
            let upstream = format!("simulated-{model}");
            revision = admin
                .new_model(&region.organization, model, &installation.provider, &upstream, &credential)
                .await;
        }
        for model in ["echo", "tools", "status-429", "status-529"] {
            let (name, upstream) = (format!("claude-{model}"), format!("simulated-{model}"));
            let (organization, endpoint) = (&region.organization, &installation.provider);
            revision =
                admin.new_model_of("anthropic", organization, &name, endpoint, &upstream, &credential).await;
        }
        admin.applied(revision).await;
        run(Command::new(&python).arg(&script).args([
            &region.base_url,
            &region.api_key,
            &region.model,
            &foreign.base_url,
            &foreign.api_key,
        ]));
    }
}

/// How the simulated provider answers, see its `behaviour`.
const WAYS: [&str; 9] =
    ["echo", "plain", "tools", "look", "status-429", "status-400", "status-500", "garbage", "truncated"];
/// Those whose callers leave.
const ENDLESS: [&str; 2] = ["hang", "slow"];
/// Who answers: OpenAI's dialect as it is, as those speak it who only have chat completions, and Anthropic's.
const PROVIDERS: [(&str, &str); 3] =
    [("openai", "openai"), ("compatible", "openai_compatible"), ("anthropic", "anthropic")];

#[tokio::test(flavor = "multi_thread")]
async fn the_sdks_work_on_every_endpoint_that_they_share_with_a_worker() {
    let (python, node) = (prepared("BAILIWICK_SDK_PYTHON"), PathBuf::from(prepared("BAILIWICK_SDK_NODE")));
    let installation = Installation::start();
    let name = "eu-central-1";
    let region = installation.region(name);
    let admin = Admin::of(name, region);
    let credential = admin.new_credential(&region.organization, "key").await;
    let mut revision = 0;
    for (who, kind) in PROVIDERS {
        for way in WAYS.into_iter().chain(ENDLESS) {
            let (model, upstream) = (format!("{who}-{way}"), format!("simulated-{way}"));
            let (organization, endpoint) = (&region.organization, &installation.provider);
            revision = admin.new_model_of(kind, organization, &model, endpoint, &upstream, &credential).await;
        }
    }
    admin.applied(revision).await;
    let (base_url, key) = (&region.base_url, &region.api_key);
    run(Command::new(python).arg(script("endpoints.py")).args([base_url, key]));
    // Beside its libraries, where Node looks for them.
    let beside = node.join("endpoints.mjs");
    std::fs::copy(script("endpoints.mjs"), &beside).expect("copied");
    run(Command::new("node").arg(beside).args([base_url, key]));
    // Per SDK and provider: two that waited too long, and two that had read enough; and the same once with a file.
    let left = (PROVIDERS.len() * 2 * 2 + 2) * 2;
    eventually("whoever left is metered as such", || async {
        let events = admin.events(&region.organization).await;
        let found = events.iter().filter(|event| event.end == "caller_left").count();
        (found == left).then_some(())
    })
    .await;
}

/// What `./tests/run` has installed.
fn prepared(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable}: ./tests/run prepares it"))
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk").join(name)
}

fn run(command: &mut Command) {
    let output = command.output().expect("it starts");
    let said = [&output.stdout[..], &output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
}
