//! R7: what an organization's residency admits, and who is told.

use bailiwick_domain::spiffe::ProcessRole;
use bailiwick_proto::{
    admin::v1::{self as wire, policy_service_client::PolicyServiceClient},
    config::v1::{Residency, ResidencyMode},
    status::reason_of,
};
use tonic::{Code, transport::Channel};

use super::world::{World, deployment, key, model};

fn policies(world: &World) -> PolicyServiceClient<Channel> {
    PolicyServiceClient::new(world.channel(ProcessRole::Operator))
}

fn residency(mode: ResidencyMode, hosts: &[&str]) -> Residency {
    Residency { mode: mode.into(), hosts: hosts.iter().map(ToString::to_string).collect() }
}

async fn set(world: &World, organization: &str, residency: Residency) -> Result<Residency, tonic::Status> {
    let message =
        wire::SetResidencyRequest { organization_id: organization.to_owned(), residency: Some(residency) };
    let answer = policies(world).set_residency(message).await?.into_inner();
    assert!(answer.change.is_some_and(|change| change.revision > 0));
    Ok(answer.residency.expect("told"))
}

async fn deploy(
    world: &World,
    organization: &str,
    endpoint: &str,
    upstream: &str,
) -> Result<String, tonic::Status> {
    let credential = world.credential(organization).await;
    let new = wire::CreateDeploymentRequest {
        endpoint: endpoint.to_owned(),
        upstream_model: upstream.to_owned(),
        ..deployment(organization, &credential)
    };
    Ok(world.models().create_deployment(new).await?.into_inner().deployment.expect("told").id)
}

const EU: &str = "https://eu.api.openai.com/v1";
const US: &str = "https://us.api.openai.com/v1";
const ANYWHERE: &str = "https://api.openai.com/v1";

#[tokio::test]
async fn r7_by_default_a_deployment_lies_in_the_regions_jurisdiction() {
    let world = World::new().await;
    let org = world.organization().await;
    deploy(&world, &org, EU, "gpt-4o").await.expect("in the EU");
    for (endpoint, found) in [(US, "us"), (ANYWHERE, "global")] {
        let refused = deploy(&world, &org, endpoint, "gpt-4o").await.expect_err(endpoint);
        assert_eq!(reason_of(&refused).as_deref(), Some("egress_refused"));
        for told in [
            &format!("answers from {found}"),
            "admits eu alone",
            "let the organization's owner list the host",
        ] {
            assert!(refused.message().contains(told), "{told} in {}", refused.message());
        }
    }
}

#[tokio::test]
async fn r7_what_its_owner_lists_is_admitted_and_the_list_is_on_the_record() {
    let world = World::new().await;
    let (org, other) = (world.organization().await, world.organization().await);
    let listed = residency(ResidencyMode::Listed, &["US.api.openai.com", "api.anthropic.com"]);
    let told = set(&world, &org, listed).await.expect("set");
    assert_eq!(told.hosts, ["us.api.openai.com", "api.anthropic.com"]);
    deploy(&world, &org, US, "gpt-4o").await.expect("listed");
    for endpoint in [EU, ANYWHERE, "https://api.anthropic.com/v1"] {
        let refused = deploy(&world, &org, endpoint, "gpt-4o").await.expect_err(endpoint);
        assert_eq!(reason_of(&refused).as_deref(), Some("egress_refused"), "{endpoint}");
    }
    assert!(deploy(&world, &other, US, "gpt-4o").await.is_err(), "a list is its organization's alone");

    // R11: who reads the chain sees what was listed.
    let records = world.records(&org).await;
    let record = records.iter().find(|record| record.action == "organization.residency").expect("recorded");
    assert_eq!(record.subject, format!("{org} listed us.api.openai.com api.anthropic.com"));
    assert!(record.revision > 0 && world.intact(&org).await);

    let request = wire::GetResidencyRequest { organization_id: org.clone() };
    let read = policies(&world).get_residency(request).await.expect("read").into_inner();
    assert_eq!((read.residency, read.region_jurisdiction.as_str()), (Some(told), "eu"));
}

#[tokio::test]
async fn r7_a_deployment_that_is_not_admitted_any_more_is_explained_and_never_silent() {
    let world = World::new().await;
    let org = world.organization().await;
    set(&world, &org, residency(ResidencyMode::Listed, &["us.api.openai.com"])).await.expect("set");
    let made = deploy(&world, &org, US, "gpt-4o").await.expect("listed");
    world.models().create_model(model(&org, "abroad", &made)).await.expect("made");
    let key = world.keys().create_key(key(&org)).await.expect("made").into_inner().key.expect("told").id;
    let listed = async || {
        let request = wire::ListDeploymentsRequest { organization_id: org.clone(), page: None };
        let found = world.models().list_deployments(request).await.expect("listed").into_inner();
        found.deployments.into_iter().next().expect("one").egress_refusal
    };
    let explained = async || {
        let request =
            wire::ExplainKeyRequest { id: key.clone(), model: "abroad".to_owned(), ..Default::default() };
        let steps = world.keys().explain_key(request).await.expect("explained").into_inner().steps;
        steps.into_iter().last().expect("a step")
    };
    assert_eq!(listed().await, "");
    assert_eq!(explained().await.code, "");

    set(&world, &org, residency(ResidencyMode::Region, &[])).await.expect("set");
    assert!(listed().await.contains("answers from us"), "{}", listed().await);
    let step = explained().await;
    assert_eq!((step.step.as_str(), step.code.as_str()), ("place", "no_deployment_available"));
    for told in ["`region`", "us.api.openai.com", "answers from us", &made] {
        assert!(step.finding.contains(told), "{told} in {}", step.finding);
    }
}

#[tokio::test]
async fn a_residency_that_makes_no_sense_is_refused() {
    let world = World::new().await;
    let org = world.organization().await;
    let many: Vec<String> = (0..101).map(|n| format!("host{n}.test")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (mode, hosts) in [
        (ResidencyMode::Region, &["api.openai.com"][..]),
        (ResidencyMode::Listed, &[][..]),
        (ResidencyMode::Listed, &["*"][..]),
        (ResidencyMode::Listed, &["https://api.openai.com"][..]),
        (ResidencyMode::Listed, &many[..]),
    ] {
        let refused = set(&world, &org, residency(mode, hosts)).await.expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidArgument, "{mode:?} {hosts:?}: {refused}");
    }
    assert!(!world.records(&org).await.iter().any(|record| record.action == "organization.residency"));
}
