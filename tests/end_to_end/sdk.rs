//! The unmodified SDKs of OpenAI and Anthropic for Python, against each region, with `base_url` and `api_key` changed and nothing else.

use std::{path::Path, process::Command};

use bailiwick_tests::{
    admin::Admin,
    installation::{Installation, REGIONS},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_sdks_work_in_every_region_by_base_url_and_key_alone() {
    let python =
        std::env::var("BAILIWICK_SDK_PYTHON").expect("BAILIWICK_SDK_PYTHON: ./tests/run prepares it");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("end_to_end/sdk.py");
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
        let output = Command::new(&python)
            .arg(&script)
            .args([&region.base_url, &region.api_key, &region.model, &foreign.base_url, &foreign.api_key])
            .output()
            .expect("python");
        assert!(
            output.status.success(),
            "{name}: {}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
