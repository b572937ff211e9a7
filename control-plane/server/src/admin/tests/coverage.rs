//! What holds for every method, also for those that are yet to be added: each has its row in the table of who may call it, and everybody else is refused.

use std::collections::BTreeSet;

use bailiwick_domain::{
    id::{Credential, Deployment, Kind, Model, Organization, Rotation, Worker},
    jurisdiction::Jurisdiction,
    key::{ApiKey, ServiceSecret},
    organization::OrganizationRole,
    permission::{Role, allows},
    region::Regions,
    spiffe::ProcessRole,
    time::{Clock as _, SystemClock},
};
use bailiwick_proto::status::{metadata_of, reason_of};
use bytes::Bytes;
use tonic::{Code, Status};

use super::{
    raw::{self, Method, TextField},
    world::{World, fresh},
};
use crate::rpcs::{self, Listener, Needs, Rpc, Scope};

/// The methods that a listener serves, with their rows.
fn served(listener: Listener) -> Vec<(Method, &'static Rpc)> {
    let all = raw::all().into_iter();
    all.filter_map(|method| rpcs::find(&method.path, listener).map(|rpc| (method, rpc))).collect()
}

fn admin_methods() -> Vec<Method> {
    let served = served(Listener::Admin).into_iter().map(|(method, _)| method);
    served.filter(|method| method.path.starts_with("/bailiwick.admin.v1.")).collect()
}

/// Methods that wait for more than one message: their answer to one says nothing.
fn goes_on(method: &Method) -> bool {
    method.path.starts_with("/grpc.")
}

fn denied(status: &Status) -> bool {
    status.code() == Code::PermissionDenied && reason_of(status).as_deref() == Some("permission_denied")
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
        "service_account_secret" => "bwsvc_euc1_x",
        // Health's and reflection's own.
        "service"
        | "host"
        | "file_by_filename"
        | "file_containing_symbol"
        | "containing_type"
        | "all_extension_numbers_of_type"
        | "list_services" => "",
        "provider" => "openai_compatible",
        "endpoint" => "http://127.0.0.1:8190/v1",
        "upstream_model" | "model" | "allowed_models" => "gpt-4o",
        "strategy" => "weighted",
        "fallback_model" | "context_window_fallback_model" | "content_policy_fallback_model" => "",
        "role" if method.ends_with("ServiceAccount") => "viewer",
        "role" => "worker",
        "hosts" => "api.openai.com",
        "allowed_ranges" | "ranges" => "203.0.113.0/24",
        "client_address" => "203.0.113.7",
        // Of no provider but Azure.
        "api_version" => "",
        "measure" => "requests_per_minute",
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
        "deployment_id" | "deployment_ids" => minted::<Deployment>(&jurisdiction),
        "key_id" => ApiKey::generate(jurisdiction.code()).key_id().to_string(),
        "model_id" => minted::<Model>(&jurisdiction),
        "id" if method.ends_with("ServiceAccount") || method.ends_with("ServiceAccountSecret") => {
            ServiceSecret::generate(jurisdiction.code()).account().to_string()
        }
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
fn request(method: &Method, foreign: Option<&TextField>) -> Bytes {
    // Whether a process may call is judged before its message is read; what it may say is the concern of other tests.
    if method.path.starts_with("/bailiwick.worker.v1.") && method.name != "SignUp" {
        return Bytes::new();
    }
    raw::message(method.fields.iter().map(|field| {
        let foreign = foreign.is_some_and(|foreign| foreign == field);
        let region = if foreign { "us-west-1" } else { "eu-central-1" };
        (field, good(region, &method.name, &field.name))
    }))
}

#[test]
fn every_method_has_its_row_and_every_row_its_method() {
    let methods: BTreeSet<String> = raw::all().into_iter().map(|method| method.path).collect();
    let rows: BTreeSet<String> = rpcs::TABLE.iter().map(|rpc| rpc.path.to_owned()).collect();
    let without: Vec<_> = methods.difference(&rows).collect();
    assert!(without.is_empty(), "who may call {without:?}? Say so in rpcs.rs");
    let gone: Vec<_> = rows.difference(&methods).collect();
    assert!(gone.is_empty(), "there is no such method: {gone:?}");
    // One row for a method on a listener: which of two would count?
    for listener in Listener::ALL {
        for path in &methods {
            let rows =
                rpcs::TABLE.iter().filter(|rpc| rpc.path == *path && rpc.listeners.contains(&listener));
            assert!(rows.count() <= 1, "{path} {listener:?}");
        }
    }
}

#[test]
fn a_row_says_of_a_method_what_its_request_says() {
    for method in raw::all() {
        for rpc in rpcs::TABLE.iter().filter(|rpc| rpc.path == method.path) {
            let names = |field: &str| method.fields.iter().any(|found| found.name == field);
            if matches!(rpc.scope, Scope::Organization | Scope::Either) {
                assert!(names("id") || names("organization_id"), "{}: of which organization?", rpc.path);
            }
            // What nobody needs a proof for says nothing of anybody's accounts.
            assert_eq!(
                rpc.needs == Needs::Nothing,
                rpc.scope == Scope::Public && rpc.needs != Needs::Identity
            );
            let Needs::To(permission) = rpc.needs else { continue };
            for role in OrganizationRole::ALL {
                let may = allows(Role::Organization(role), permission);
                assert!(!may || rpc.scope != Scope::Region, "{}: {role}", rpc.path);
            }
        }
    }
}

#[tokio::test]
async fn what_has_no_row_on_a_listener_is_served_to_nobody_there() {
    let world = World::new().await;
    let organization = world.organization().await;
    let owner = world.token_of(&organization, "owner").await;
    for method in raw::all() {
        let message = request(&method, None);
        for (listener, channel) in [
            (Listener::Admin, world.channel(ProcessRole::Operator)),
            (Listener::Workers, world.process_channel(ProcessRole::Worker)),
            (Listener::Tokens, world.visitor()),
            (Listener::Enrollment, world.nobody(Listener::Enrollment)),
        ] {
            if rpcs::find(&method.path, listener).is_some() {
                continue;
            }
            let refused = raw::call_as(channel, &owner, &method.path, message.clone()).await;
            let refused = refused.expect_err(&method.path);
            let reason = reason_of(&refused);
            assert_eq!(refused.code(), Code::Unimplemented, "{listener:?} {}: {refused}", method.path);
            assert_eq!(reason.as_deref(), Some("unknown_method"), "{listener:?} {}", method.path);
        }
    }
    for path in ["/bailiwick.admin.v1.KeyService/StealKeys", "/bailiwick.admin.v1.Nobody/GetKey", "/"] {
        let refused = raw::call(world.operator(), path, Bytes::new()).await.expect_err(path);
        assert_eq!(reason_of(&refused).as_deref(), Some("unknown_method"), "{path}: {refused}");
    }
}

#[tokio::test]
async fn no_method_serves_a_caller_without_a_proof() {
    let world = World::new().await;
    for listener in Listener::ALL {
        for (method, rpc) in served(listener).into_iter().filter(|(_, rpc)| rpc.needs != Needs::Nothing) {
            let refused = raw::call(world.nobody(listener), &method.path, request(&method, None)).await;
            let refused = refused.expect_err(&method.path);
            let reason = if listener == Listener::Tokens { "no_token" } else { "no_certificate" };
            assert_eq!(refused.code(), Code::Unauthenticated, "{}: {refused}", rpc.path);
            assert_eq!(reason_of(&refused).as_deref(), Some(reason), "{}", rpc.path);
        }
    }
}

#[tokio::test]
async fn r3_each_role_of_a_certificate_reaches_what_the_table_gives_it_and_nothing_else() {
    let world = World::with("signup = { mode = \"open\" }").await;
    for role in ProcessRole::ALL {
        for (listener, channel) in
            [(Listener::Admin, world.channel(role)), (Listener::Workers, world.process_channel(role))]
        {
            for (method, rpc) in served(listener).into_iter().filter(|(method, _)| !goes_on(method)) {
                let Needs::To(permission) = rpc.needs else { continue };
                let answer = raw::call(channel.clone(), &method.path, request(&method, None)).await;
                let place = format!("{role}: {}: {:?}", method.path, answer.as_ref().err());
                let may = allows(Role::Process(role), permission);
                assert_eq!(answer.as_ref().is_err_and(denied), !may, "{place}");
                let code = answer.err().map_or(Code::Ok, |status| status.code());
                assert_ne!(code, Code::Unauthenticated, "{place}");
                if may && listener == Listener::Admin {
                    let ours = matches!(code, Code::InvalidArgument | Code::Internal | Code::Unknown);
                    // The role in the request is a worker's, which has no certificate of this kind to be revoked.
                    assert!(!ours || method.name == "RevokeCertificate", "{place}");
                }
            }
        }
    }
}

#[tokio::test]
async fn each_role_of_an_organization_reaches_what_the_table_gives_it_and_nothing_else() {
    let world = World::new().await;
    let organization = world.organization().await;
    for role in OrganizationRole::ALL {
        let token = world.token_of(&organization, role.as_str()).await;
        for (method, rpc) in served(Listener::Tokens).into_iter().filter(|(method, _)| !goes_on(method)) {
            let Needs::To(permission) = rpc.needs else { continue };
            let answer = raw::call_as(world.visitor(), &token, &method.path, request(&method, None)).await;
            let place = format!("{role}: {}: {:?}", method.path, answer.as_ref().err());
            let may = allows(Role::Organization(role), permission);
            assert_eq!(answer.as_ref().is_err_and(denied), !may, "{place}");
            let code = answer.err().map_or(Code::Ok, |status| status.code());
            assert!(!matches!(code, Code::Unauthenticated | Code::Internal | Code::Unknown), "{place}");
        }
    }
}

#[tokio::test]
async fn r2_nobody_reaches_another_organization_and_hears_no_more_than_if_it_were_not_there() {
    let world = World::new().await;
    let (ours, theirs) = (world.organization().await, world.organization().await);
    let (own, other) = (world.inhabited(&ours).await, world.inhabited(&theirs).await);
    let token = world.token_of(&ours, "owner").await;
    let before = (world.records(&theirs).await.len(), world.records("").await.len());
    let mut tried = 0;
    for (method, rpc) in served(Listener::Tokens) {
        if !matches!(rpc.scope, Scope::Organization | Scope::Either) {
            continue;
        }
        for attacked in method.fields.iter().filter(|field| field.names_a_region()) {
            let asked = |of: &dyn Fn(&str, &str) -> Option<String>| {
                raw::message(method.fields.iter().map(|field| {
                    let fallback = || good("eu-central-1", &method.name, &field.name);
                    let known = if field == attacked {
                        of(&method.name, &field.name)
                    } else {
                        own.id(&method.name, &field.name)
                    };
                    (field, known.unwrap_or_else(fallback))
                }))
            };
            let call = async |message| raw::call_as(world.visitor(), &token, &method.path, message).await;
            let foreign = call(asked(&|method, field| other.id(method, field))).await;
            let absent = call(asked(&|_, _| None)).await;
            let place = format!("{}: {}: {foreign:?}", method.path, attacked.name);
            match (&foreign, &absent) {
                (Err(foreign), Err(absent)) => {
                    assert_eq!(
                        (foreign.code(), foreign.message()),
                        (absent.code(), absent.message()),
                        "{place}"
                    );
                    // What stands beside an identifier of one's own is a field that breaks a rule.
                    let expected = if attacked.name == "organization_id" || attacked.name == "id" {
                        Code::NotFound
                    } else {
                        Code::InvalidArgument
                    };
                    assert_eq!(foreign.code(), expected, "{place}");
                }
                // That a key is not there is what was asked.
                _ => {
                    assert_eq!(method.name, "ExplainKey", "{place}");
                    assert_eq!(foreign.ok(), absent.ok(), "{place}");
                }
            }
            tried += 1;
        }
    }
    assert!(tried > 25, "only {tried} identifiers were tried");
    assert_eq!((world.records(&theirs).await.len(), world.records("").await.len()), before);
}

#[tokio::test]
async fn the_regions_own_audit_chain_is_none_of_an_organizations_business() {
    let world = World::new().await;
    let organization = world.organization().await;
    let token = world.token_of(&organization, "owner").await;
    for name in ["ListAuditRecords", "VerifyAuditChain"] {
        let path = format!("/bailiwick.admin.v1.AuditService/{name}");
        let refused = raw::call_as(world.visitor(), &token, &path, Bytes::new()).await;
        assert!(denied(&refused.expect_err(name)), "{name}");
    }
}

#[tokio::test]
async fn r3_a_token_of_another_region_is_refused_by_every_method_and_told_where_it_belongs() {
    let (world, america) = (World::new().await, World::of("us-west-1", "").await);
    let organization = america.organization_in("us-west-1").await;
    let token = america.token_of(&organization, "owner").await;
    for (method, _) in served(Listener::Tokens).into_iter().filter(|(_, rpc)| rpc.needs != Needs::Nothing) {
        let refused = raw::call_as(world.visitor(), &token, &method.path, request(&method, None)).await;
        let refused = refused.expect_err(&method.path);
        assert_eq!(refused.code(), Code::FailedPrecondition, "{}: {refused}", method.path);
        assert_eq!(reason_of(&refused).as_deref(), Some("wrong_region"), "{}", method.path);
        assert_eq!(metadata_of(&refused, "region").as_deref(), Some("us-west-1"), "{}", method.path);
    }
    let records = world.records("").await;
    assert_eq!(records.last().map(|record| record.action.as_str()), Some("foreign.refuse"));
}

#[tokio::test]
async fn a_token_that_is_malformed_or_has_expired_is_refused_by_every_method_with_one_answer() {
    let world = World::new().await;
    let organization = world.organization().await;
    let expired = world.token_of(&organization, "owner").await;
    world.minutes_pass(15);
    let (_, secret) = world.account(&organization, "owner").await;
    let key = world.key(&organization).await.api_key;
    let mut answers = BTreeSet::new();
    for (method, _) in served(Listener::Tokens).into_iter().filter(|(_, rpc)| rpc.needs != Needs::Nothing) {
        for token in [expired.as_str(), "nonsense", "a.b.c", &secret, &key, &"x".repeat(5000)] {
            let refused = raw::call_as(world.visitor(), token, &method.path, request(&method, None)).await;
            let refused = refused.expect_err(&method.path);
            assert_eq!(refused.code(), Code::Unauthenticated, "{}: {refused}", method.path);
            answers.insert((reason_of(&refused), refused.message().to_owned()));
        }
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(answers.first().and_then(|(reason, _)| reason.as_deref()), Some("invalid_token"));
}

#[tokio::test]
async fn where_certificates_are_asked_for_a_token_counts_for_nothing() {
    let world = World::new().await;
    let organization = world.organization().await;
    let token = world.token_of(&organization, "owner").await;
    for (method, _) in served(Listener::Admin) {
        let path = &method.path;
        let refused = raw::call_as(world.nobody(Listener::Admin), &token, path, request(&method, None)).await;
        assert_eq!(refused.expect_err(path).code(), Code::Unauthenticated, "{path}");
        if goes_on(&method) {
            continue;
        }
        // Nor does it lend a worker what it may: who calls is the certificate.
        let worker = world.channel(ProcessRole::Worker);
        let refused = raw::call_as(worker, &token, path, request(&method, None)).await;
        assert!(denied(&refused.expect_err(path)), "{path}");
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
            let channel =
                if method.name == "SignUp" { world.process_channel(role) } else { world.channel(role) };
            let refused = raw::call(channel, &method.path, request(&method, Some(field))).await;
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
