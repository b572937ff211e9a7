//! R7, end to end: where an organization's calls may be processed, who may change it, and what workers make of it.

use std::process::Command;

use bailiwick_proto::{
    admin::v1::{
        CreateDeploymentRequest, CreateModelRequest, ListAuditRecordsRequest, ListDeploymentsRequest,
    },
    status::reason_of,
};
use bailiwick_tests::{
    admin::{Admin, fresh},
    calls::{Application, refusal},
    installation::{Installation, Region},
    process::binary,
};

const HOME: &str = "eu-central-1";

/// Runs the command as an operator does; gives what it printed.
fn bailiwick(installation: &Installation, arguments: &[&str]) -> String {
    let output = Command::new(binary("bailiwick"))
        .args(["--region", HOME])
        .args(arguments)
        .env("BAILIWICK_LOCAL", installation.folder().join("local.json"))
        .output()
        .expect("bailiwick starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// An application of a new organization of this region.
async fn tenant(admin: &Admin, region: &Region) -> (String, String, Application) {
    let organization = admin.new_organization(HOME).await;
    let (key_id, key) = admin.new_key(&organization).await;
    (organization, key_id, Application::new(&region.base_url, &key))
}

#[tokio::test(flavor = "multi_thread")]
async fn r7_a_residency_admits_and_withdraws_deployments_on_every_worker() {
    let installation = Installation::start();
    let region = installation.region(HOME);
    let admin = Admin::of(HOME, region);
    let (organization, key_id, application) = tenant(&admin, region).await;
    let credential = admin.new_credential(&organization, "simulated-provider-key").await;
    let create = async |endpoint: &str| {
        let request = CreateDeploymentRequest {
            idempotency_key: fresh(),
            organization_id: organization.clone(),
            provider: "openai_compatible".to_owned(),
            endpoint: endpoint.to_owned(),
            upstream_model: "simulated".to_owned(),
            credential_id: credential.clone(),
            api_version: String::new(),
            price: None,
        };
        admin.models().create_deployment(request).await
    };
    // A host of another jurisdiction, and one that may answer from anywhere.
    for endpoint in ["https://abroad.verify.test/v1", "https://anywhere.verify.test/v1"] {
        let refused = create(endpoint).await.expect_err(endpoint);
        assert_eq!(reason_of(&refused).as_deref(), Some("egress_refused"), "{refused}");
    }
    bailiwick(&installation, &["org", "residency", "set", &organization, "--host", "abroad.verify.test"]);
    let abroad = create("https://abroad.verify.test/v1").await.expect("listed").into_inner();
    let abroad = abroad.deployment.expect("told").id;
    let here = create(&installation.provider).await.expect_err("what is not listed is not admitted");
    assert_eq!(reason_of(&here).as_deref(), Some("egress_refused"));

    let request = CreateModelRequest {
        idempotency_key: fresh(),
        organization_id: organization.clone(),
        name: "abroad".to_owned(),
        deployment_ids: vec![abroad.clone()],
        ..Default::default()
    };
    let made = admin.models().create_model(request).await.expect("model").into_inner();
    admin.applied(made.change.expect("change").revision).await;
    // It is placed now; nobody answers for that name.
    let placed = refusal(application.chat("abroad", "hello", false).await.expect("an answer")).await;
    assert_eq!(placed.code, "provider_unreachable");

    let told = bailiwick(
        &installation,
        &["--output", "json", "org", "residency", "set", &organization, "--in-region"],
    );
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    admin.applied(told["revision"].as_u64().expect("a revision")).await;
    let refused = refusal(application.chat("abroad", "hello", false).await.expect("an answer")).await;
    assert_eq!(refused.code, "no_deployment_available");

    // Nothing of it is silent.
    let explained = Command::new(binary("bailiwick"))
        .args(["--region", HOME, "config", "explain", &key_id, "--model", "abroad"])
        .env("BAILIWICK_LOCAL", installation.folder().join("local.json"))
        .output()
        .expect("bailiwick starts");
    let explained = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(explained.contains("answers from us") && explained.contains(&abroad), "{explained}");
    let request = ListDeploymentsRequest { organization_id: organization.clone(), page: None };
    let listed = admin.models().list_deployments(request).await.expect("listed").into_inner();
    assert!(listed.deployments[0].egress_refusal.contains("answers from us"), "{listed:?}");
    for worker in &region.processes.workers {
        let metrics = reqwest::get(&worker.metrics).await.expect("metrics").text().await.expect("text");
        let gauge = metrics
            .lines()
            .find(|line| line.starts_with("bailiwick_configuration_deployments_outside_egress"))
            .expect("a gauge");
        assert!(gauge.ends_with(" 1"), "{gauge}");
    }
    let request = ListAuditRecordsRequest { organization_id: organization.clone(), page: None };
    let records = admin.audit().list_audit_records(request).await.expect("records").into_inner().records;
    let subjects: Vec<&str> = records
        .iter()
        .filter(|record| record.action == "organization.residency")
        .map(|record| record.subject.as_str())
        .collect();
    let expected = [format!("{organization} region"), format!("{organization} listed abroad.verify.test")];
    assert!(expected.iter().all(|subject| subjects.contains(&subject.as_str())), "{subjects:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r7_spans_of_no_process_leave_the_region() {
    let installation = Installation::start();
    for region in installation.regions.values() {
        for process in region.processes.all() {
            let [program, _serve, flag, config] = process.command.as_slice() else {
                panic!("{:?}", process.command)
            };
            let variable = match program.rsplit('/').next().expect("a name") {
                "bailiwick-control-plane" => "CONTROL_PLANE",
                "bailiwick-worker" => "WORKER",
                _ => "ROUTER",
            };
            let name = |key: &str| format!("BAILIWICK_{variable}_TELEMETRY__{key}");
            let check = |variables: &[(String, &str)]| {
                let output = Command::new(program)
                    .args(["check-config", flag, config])
                    .envs(variables.iter().map(|(name, value)| (name, value)))
                    .output()
                    .expect("it starts");
                (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
            };
            assert!(check(&[]).0, "{program}");
            let endpoint = (name("OTLP_ENDPOINT"), "http://otel.example:4317");
            let (good, said) = check(std::slice::from_ref(&endpoint));
            assert!(!good && said.contains("telemetry.otlp_endpoint"), "{program}: {said}");
            let global = (name("ALLOW"), "[{pattern=\"otel.example\",jurisdiction=\"global\"}]");
            let (good, said) = check(&[endpoint, global]);
            assert!(!good && said.contains("answers from global"), "{program}: {said}");
        }
    }
}
