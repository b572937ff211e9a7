//! R7, as a caller meets it.

use bailiwick_proto::config::v1::{self as config, resource::Kind};

use super::{
    ANSWER, PLAIN, at,
    provider::{Provider, Then, json},
    world::{World, rule},
};

fn settings(world: &World, rules: Vec<config::EgressRule>) -> Kind {
    let Kind::RegionSettings(settings) = world.settings(&[], &[]) else { panic!("settings") };
    Kind::RegionSettings(config::RegionSettings { egress_rules: rules, ..settings })
}

fn listed(world: &World, hosts: &[&str]) -> Kind {
    Kind::Organization(config::Organization {
        id: world.organization.to_string(),
        residency: Some(config::Residency {
            mode: config::ResidencyMode::Listed.into(),
            hosts: hosts.iter().map(ToString::to_string).collect(),
        }),
        ..config::Organization::default()
    })
}

#[tokio::test]
async fn r7_an_organization_that_lists_hosts_calls_those_and_no_others() {
    let provider = Provider::start([json(200, ANSWER), json(200, ANSWER)]).await;
    let world = World::start(&[at(&provider)]);
    world.put([listed(&world, &["localhost"])]);
    assert_eq!(world.call(PLAIN).await.code(), "no_deployment_available");
    world.put([listed(&world, &["127.0.0.1"])]);
    assert_eq!(world.call(PLAIN).await.status, 200);
    // The connection is open; what is not admitted any more does not take it.
    world.put([listed(&world, &["localhost"])]);
    assert_eq!(world.call(PLAIN).await.code(), "no_deployment_available");
    assert_eq!(provider.heard().len(), 1);
}

#[tokio::test]
async fn r7_a_host_of_another_jurisdiction_is_not_called() {
    let provider = Provider::start([json(200, ANSWER)]).await;
    let world = World::start(&[at(&provider)]);
    for elsewhere in ["us", "global"] {
        world.put([settings(&world, vec![rule("127.0.0.1", elsewhere, &[])])]);
        assert_eq!(world.call(PLAIN).await.code(), "no_deployment_available", "{elsewhere}");
    }
    assert_eq!(provider.dialled(), 0);
}

#[tokio::test]
async fn r7_a_name_that_resolves_into_the_machine_is_not_dialled_without_a_range() {
    let provider = Provider::start([json(200, ANSWER)]).await;
    let world = World::start(&[at(&provider).replace("127.0.0.1", "localhost")]);
    world.put([settings(&world, vec![rule("localhost", "eu", &[])])]);
    assert_eq!(world.call(PLAIN).await.code(), "egress_refused");
    assert_eq!(provider.dialled(), 0);
    world.put([settings(&world, vec![rule("localhost", "eu", &["127.0.0.0/8"])])]);
    assert_eq!(world.call(PLAIN).await.status, 200);
}

#[tokio::test]
async fn r7_a_redirect_is_not_followed_and_its_target_not_told() {
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "303 See Other",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let elsewhere = Provider::start([json(200, ANSWER)]).await;
        let target = at(&elsewhere);
        let head = format!("HTTP/1.1 {status}\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n");
        let provider = Provider::start([(vec![head.into_bytes()], Then::Keep)]).await;
        let world = World::start(&[at(&provider)]);
        let seen = world.call(PLAIN).await;
        assert_eq!((seen.status, seen.code().as_str()), (502, "provider_invalid_response"), "{status}");
        assert!(!seen.headers.contains_key("location"), "{status}");
        assert_eq!(elsewhere.dialled(), 0, "{status}");
    }
}

#[tokio::test]
async fn r7_a_location_is_not_passed_on_beside_an_answer_either() {
    let length = ANSWER.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nlocation: http://elsewhere.test/\r\ncontent-length: {length}\r\n\r\n{ANSWER}"
    );
    let provider = Provider::start([(vec![answer.into_bytes()], Then::Keep)]).await;
    let world = World::start(&[at(&provider)]);
    let seen = world.call(PLAIN).await;
    assert_eq!(seen.status, 200);
    assert!(!seen.headers.contains_key("location"));
}
