//! What holds for every method, also for those that are yet to be added.

use bailiwick_domain::{
    id::{Credential, Deployment, Kind, Model, Organization, Rotation, Worker},
    jurisdiction::Jurisdiction,
    key::ApiKey,
    region::Regions,
    spiffe::ProcessRole,
    time::{Clock as _, SystemClock},
};
use bailiwick_proto::status::{metadata_of, reason_of};
use tonic::Code;

use super::{
    raw::{self, Method, TextField},
    world::{World, fresh},
};

fn admin_methods() -> Vec<Method> {
    raw::methods(|service| service.starts_with("bailiwick.admin.v1."))
}

/// A good value of each field of text that a request has. A new field is not tried until it has one: the test says so.
fn good(region: &str, method: &str, field: &str) -> String {
    let value = match field {
        "idempotency_key" => return fresh(),
        // The first page.
        "page_token" => "",
        "region" => region,
        "name" | "organization_name" => "worker-1",
        "contact_email" | "email" => "someone@example.com",
        "secret" => "sk-provider",
        "provider" => "openai_compatible",
        "endpoint" => "http://127.0.0.1:8190/v1",
        "upstream_model" | "model" | "allowed_models" => "gpt-4o",
        "role" => "worker",
        _ => return identifier(region, method, field),
    };
    value.to_owned()
}

/// An identifier of a region; nothing has it.
fn identifier(region: &str, method: &str, field: &str) -> String {
    let regions = Regions::builtin();
    let jurisdiction = Jurisdiction::of(regions.by_name_str(region).expect("a region"));
    match field {
        "organization_id" => minted::<Organization>(&jurisdiction),
        "credential_id" => minted::<Credential>(&jurisdiction),
        "deployment_ids" => minted::<Deployment>(&jurisdiction),
        "id" if method.ends_with("Organization") => minted::<Organization>(&jurisdiction),
        "id" if method.ends_with("Key") => ApiKey::generate(jurisdiction.code()).key_id().to_string(),
        "id" if method.ends_with("Credential") => minted::<Credential>(&jurisdiction),
        "id" if method.ends_with("Deployment") => minted::<Deployment>(&jurisdiction),
        "id" if method.ends_with("Model") => minted::<Model>(&jurisdiction),
        "id" if method.ends_with("Rotation") => minted::<Rotation>(&jurisdiction),
        "id" if method.ends_with("Worker") => minted::<Worker>(&jurisdiction),
        _ => panic!("{method}: what is a good value of `{field}`?"),
    }
}

fn minted<K: Kind>(jurisdiction: &Jurisdiction) -> String {
    jurisdiction.mint_random::<K>(SystemClock.now()).to_string()
}

/// A request of good values, but for one field, which is of another region.
fn request(method: &Method, foreign: Option<&TextField>) -> bytes::Bytes {
    raw::message(method.fields.iter().map(|field| {
        let foreign = foreign.is_some_and(|foreign| foreign == field);
        let region = if foreign { "us-west-1" } else { "eu-central-1" };
        (field, good(region, &method.name, &field.name))
    }))
}

#[tokio::test]
async fn no_method_of_the_admin_api_is_for_processes() {
    let world = World::new().await;
    for role in [ProcessRole::Worker, ProcessRole::Router, ProcessRole::ControlPlane] {
        let channel = world.channel(role);
        for method in admin_methods() {
            let refused = raw::call(channel.clone(), &method.path, request(&method, None)).await;
            let refused = refused.expect_err(&method.path);
            assert_eq!(refused.code(), Code::PermissionDenied, "{role}: {}: {refused}", method.path);
            assert_eq!(reason_of(&refused).as_deref(), Some("permission_denied"), "{}", method.path);
        }
    }
}

#[tokio::test]
async fn a_service_changes_nothing_of_the_region_and_may_do_the_rest() {
    let world = World::new().await;
    let channel = world.channel(ProcessRole::Service);
    for method in admin_methods() {
        let answer = raw::call(channel.clone(), &method.path, request(&method, None)).await;
        let code = answer.err().map_or(Code::Ok, |status| status.code());
        let region = [".RegionService/", ".TrustService/", ".KeyMaterialService/", ".BackupService/"]
            .iter()
            .any(|of| method.path.contains(of));
        assert_eq!(code == Code::PermissionDenied, region, "{}: {code:?}", method.path);
        assert!(
            !matches!(code, Code::InvalidArgument | Code::Internal | Code::Unknown),
            "{}: {code:?}",
            method.path
        );
    }
}

#[tokio::test]
async fn only_a_router_signs_people_up() {
    let world = World::with("signup = { mode = \"open\" }").await;
    let methods = raw::methods(|service| service == "bailiwick.worker.v1.SignupService");
    for role in ProcessRole::ALL {
        for method in &methods {
            let answer = raw::call(world.channel(role), &method.path, request(method, None)).await;
            assert_eq!(answer.is_ok(), role == ProcessRole::Router, "{role}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn no_method_serves_a_connection_without_a_certificate() {
    let world = World::new().await;
    let signup = raw::methods(|service| service == "bailiwick.worker.v1.SignupService");
    for method in admin_methods().into_iter().chain(signup) {
        let refused = raw::call(world.nobody(), &method.path, request(&method, None)).await;
        let refused = refused.expect_err(&method.path);
        assert_eq!(refused.code(), Code::Unauthenticated, "{}: {refused}", method.path);
    }
}

#[tokio::test]
async fn r2_an_identifier_of_another_region_is_refused_wherever_it_stands_and_recorded() {
    let world = World::with("signup = { mode = \"open\" }").await;
    let signup = raw::methods(|service| service == "bailiwick.worker.v1.SignupService");
    let mut tried = 0;
    for method in admin_methods().into_iter().chain(signup) {
        for field in method.fields.iter().filter(|field| field.names_a_region()) {
            let role = if method.name == "SignUp" { ProcessRole::Router } else { ProcessRole::Operator };
            let before = world.records("").await.len();
            let refused = raw::call(world.channel(role), &method.path, request(&method, Some(field))).await;
            let refused = refused.expect_err(&method.path);
            let place = format!("{}: {}: {refused}", method.path, field.name);
            assert_eq!(refused.code(), Code::FailedPrecondition, "{place}");
            assert_eq!(reason_of(&refused).as_deref(), Some("wrong_region"), "{place}");
            assert_eq!(metadata_of(&refused, "region").as_deref(), Some("us-west-1"), "{place}");
            let records = world.records("").await;
            assert_eq!(records.len(), before + 1, "{place}");
            assert_eq!(
                records.last().map(|record| record.action.as_str()),
                Some("foreign.refuse"),
                "{place}"
            );
            world.minutes_pass(1);
            tried += 1;
        }
    }
    assert!(tried > 25, "only {tried} identifiers were tried");
    assert!(world.intact("").await);
}

#[tokio::test]
async fn r2_refusals_are_no_lever_to_fill_the_store() {
    let world = World::new().await;
    let methods = admin_methods();
    let method = methods.iter().find(|method| method.name == "GetOrganization").expect("a method");
    let before = world.records("").await.len();
    for _ in 0..100 {
        let foreign = request(method, method.fields.first());
        let refused = raw::call(world.channel(ProcessRole::Operator), &method.path, foreign).await;
        assert_eq!(reason_of(&refused.expect_err("foreign")).as_deref(), Some("wrong_region"));
    }
    assert_eq!(world.records("").await.len(), before + 60);
}
