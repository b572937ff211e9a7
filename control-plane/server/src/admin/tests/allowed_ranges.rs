//! From where calls are taken: who may say so, what is refused, and what is on the record.

use bailiwick_domain::spiffe::ProcessRole;
use bailiwick_proto::{
    admin::v1::{self as wire, policy_service_client::PolicyServiceClient},
    status::{reason_of, violations_of},
};
use tonic::{Status, transport::Channel};

use super::world::{World, key};

fn policies(world: &World) -> PolicyServiceClient<Channel> {
    PolicyServiceClient::new(world.channel(ProcessRole::Operator))
}

async fn set(world: &World, organization: &str, ranges: &[&str]) -> Result<Vec<String>, Status> {
    let allowed_ranges = ranges.iter().map(ToString::to_string).collect();
    let message = wire::SetAllowedRangesRequest { organization_id: organization.to_owned(), allowed_ranges };
    let answer = policies(world).set_allowed_ranges(message).await?.into_inner();
    assert!(answer.change.is_some_and(|change| change.revision > 0));
    Ok(answer.allowed_ranges)
}

async fn get(world: &World, organization: &str) -> Vec<String> {
    let message = wire::GetAllowedRangesRequest { organization_id: organization.to_owned() };
    policies(world).get_allowed_ranges(message).await.expect("told").into_inner().allowed_ranges
}

async fn update(world: &World, id: &str, ranges: &[&str]) -> Result<wire::Key, Status> {
    let ranges = ranges.iter().map(ToString::to_string).collect();
    let allowed_ranges = Some(wire::AllowedRanges { ranges });
    let message = wire::UpdateKeyRequest { id: id.to_owned(), allowed_ranges };
    Ok(world.keys().update_key(message).await?.into_inner().key.expect("told"))
}

#[tokio::test]
async fn ranges_are_replaced_as_a_whole_and_counted_on_the_record() {
    let world = World::new().await;
    let org = world.organization().await;
    assert!(get(&world, &org).await.is_empty());
    let told =
        set(&world, &org, &["203.0.113.0/24", "2001:DB8::/32", "::ffff:192.0.2.7"]).await.expect("set");
    assert_eq!(told, ["203.0.113.0/24", "2001:db8::/32", "192.0.2.7/32"]);
    assert_eq!(get(&world, &org).await, told);
    assert_eq!(set(&world, &org, &["198.51.100.7"]).await.expect("set"), ["198.51.100.7/32"]);
    assert!(set(&world, &org, &[]).await.expect("set").is_empty() && get(&world, &org).await.is_empty());

    // R11. An address may be somebody's, so the record has none.
    let message = wire::ListAuditRecordsRequest { organization_id: org.clone(), page: None };
    let records = world.audit().list_audit_records(message).await.expect("told").into_inner().records;
    let subjects = records.iter().filter(|record| record.action == "organization.allowed_ranges");
    let mut subjects: Vec<&str> = subjects.map(|record| record.subject.as_str()).collect();
    subjects.sort_unstable();
    let expected = ["1 range", "3 ranges", "anywhere"].map(|told| format!("{org} {told}"));
    assert_eq!(subjects, expected);
}

#[tokio::test]
async fn a_keys_ranges_come_with_it_change_alone_and_are_kept_when_it_is_renewed() {
    let world = World::new().await;
    let org = world.organization().await;
    let new = wire::CreateKeyRequest { allowed_ranges: vec!["203.0.113.0/24".into()], ..key(&org) };
    let made = world.keys().create_key(new).await.expect("made").into_inner().key.expect("told");
    assert_eq!(made.allowed_ranges, ["203.0.113.0/24"]);
    let updated = update(&world, &made.id, &["198.51.100.0/24", "2001:db8::7"]).await.expect("updated");
    assert_eq!(updated.allowed_ranges, ["198.51.100.0/24", "2001:db8::7/128"]);
    assert_eq!(wire::Key { allowed_ranges: made.allowed_ranges, ..updated.clone() }.name, made.name);
    let rotate = wire::RotateKeyRequest { id: made.id, overlap_seconds: 0, idempotency_key: "again".into() };
    let renewed = world.keys().rotate_key(rotate).await.expect("renewed").into_inner().key.expect("told");
    assert_eq!(renewed.allowed_ranges, updated.allowed_ranges);
    assert!(update(&world, &renewed.id, &[]).await.expect("updated").allowed_ranges.is_empty());
    let absent = wire::UpdateKeyRequest { id: renewed.id, allowed_ranges: None };
    let refused = world.keys().update_key(absent).await.expect_err("nothing to change");
    assert_eq!(reason_of(&refused).as_deref(), Some("invalid_argument"));
}

#[tokio::test]
async fn a_mistyped_range_changes_nothing_and_the_right_one_is_named() {
    let world = World::new().await;
    let org = world.organization().await;
    set(&world, &org, &["203.0.113.0/24"]).await.expect("set");
    let refused =
        set(&world, &org, &["192.0.2.0/24", "10.1.2.3/8", "everywhere"]).await.expect_err("mistyped");
    let said = violations_of(&refused);
    let said: Vec<_> = said.iter().map(|v| (v.field.as_str(), v.description.as_str())).collect();
    let expected =
        "has bits set behind its prefix: say 10.0.0.0/8 for the whole range, or 10.1.2.3 for the one address";
    assert_eq!((said.len(), said[0]), (2, ("allowed_ranges[1]", expected)));
    assert_eq!(said[1].0, "allowed_ranges[2]");
    let many: Vec<String> = (0..101).map(|i| format!("192.0.2.{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(set(&world, &org, &many).await.is_err() && set(&world, &org, &many[1..]).await.is_ok());
    let id = world.key(&org).await.key.expect("told").id;
    let refused = update(&world, &id, &["10.1.2.3/8"]).await.expect_err("mistyped");
    assert_eq!(violations_of(&refused)[0].field, "allowed_ranges.ranges[0]");
}

#[tokio::test]
async fn why_an_address_would_be_refused_is_told() {
    let world = World::new().await;
    let org = world.organization().await;
    set(&world, &org, &["203.0.113.0/24", "198.51.100.7"]).await.expect("set");
    let id = world.key(&org).await.key.expect("told").id;
    update(&world, &id, &["203.0.113.0/28"]).await.expect("updated");
    let explain = async |from: &str| {
        let message =
            wire::ExplainKeyRequest { id: id.clone(), model: String::new(), client_address: from.to_owned() };
        world.keys().explain_key(message).await.expect("explained").into_inner().steps.remove(0)
    };
    let step = explain("").await;
    for told in [
        "the organization are taken from 203.0.113.0/24 198.51.100.7/32",
        "the key are taken from 203.0.113.0/28",
    ] {
        assert!(step.passed && step.finding.contains(told), "{}", step.finding);
    }
    assert!(explain("203.0.113.9").await.passed && explain("::ffff:203.0.113.9").await.passed);
    for (from, whose) in [
        ("198.51.100.8", "the organization"),
        ("198.51.100.7", "the key"),
        ("2001:db8::", "the organization"),
    ] {
        let step = explain(from).await;
        assert_eq!(step.code, "address_not_allowed");
        assert!(step.finding.ends_with(&format!("is not among what {whose} allows")), "{}", step.finding);
    }
}
