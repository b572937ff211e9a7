use std::time::Duration;

use bailiwick_core::{
    enrollment::longest_lifetime,
    records::{Chain, Page},
};
use bailiwick_domain::spiffe::ProcessRole;
use bailiwick_proto::{
    status::{metadata_of, reason_of},
    worker::v1::{RenewRequest, renewal_service_client::RenewalServiceClient},
};
use bailiwick_runtime::identity::{Identity, new_key_and_csr};
use tonic::Code;

use super::world::World;
use crate::commands;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_process_gets_the_role_and_the_name_of_its_token() {
    let world = World::new("eu-central-1").await;
    let identity = world.join(ProcessRole::Worker, "worker-1").await;
    assert_eq!(identity.spiffe_id().to_string(), "spiffe://eu-central-1.test/worker/worker-1");
    let life = identity.expires().saturating_since(identity.issued());
    assert!(life.abs_diff(Duration::from_secs(24 * 3600)) < 10 * MINUTE, "{life:?}");
}

#[tokio::test]
async fn of_two_callers_with_one_token_exactly_one_gets_a_certificate() {
    let world = World::new("eu-central-1").await;
    let token = world.token(ProcessRole::Worker, "worker-1", MINUTE).await;
    let (one, other) = tokio::join!(world.enroll(&token), world.enroll(&token));
    let refused = match (one, other) {
        (Ok(_), Err(status)) | (Err(status), Ok(_)) => status,
        (one, other) => panic!("{} and {}", one.is_ok(), other.is_ok()),
    };
    assert_eq!(
        (refused.code(), reason_of(&refused).as_deref()),
        (Code::Unauthenticated, Some("invalid_join_token"))
    );
    let third = world.enroll(&token).await.expect_err("used");
    assert_eq!(reason_of(&third).as_deref(), Some("invalid_join_token"));
}

#[tokio::test]
async fn an_expired_or_forged_token_and_a_bad_request_are_refused() {
    let world = World::new("eu-central-1").await;
    let expired = world.token(ProcessRole::Worker, "worker-1", Duration::ZERO).await;
    let status = world.enroll(&expired).await.expect_err("expired");
    assert_eq!(reason_of(&status).as_deref(), Some("invalid_join_token"));

    let parts = &world.control_plane.parts;
    let forged =
        bailiwick_domain::key::JoinToken::generate(parts.jurisdiction.code(), parts.authority.fingerprint());
    let status = world.enroll(&forged).await.expect_err("unknown");
    assert_eq!(reason_of(&status).as_deref(), Some("invalid_join_token"));

    let good = world.token(ProcessRole::Worker, "worker-1", MINUTE).await;
    for csr in ["", "not PEM", &"x".repeat(100_000)] {
        let status = world.enroll_with(&good, csr).await.expect_err("no request");
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    }
    assert!(world.enroll(&good).await.is_ok(), "a bad request does not consume the token");
}

#[tokio::test]
async fn r3_a_token_of_another_region_is_refused_and_told_where_it_belongs() {
    let (europe, america) = (World::new("eu-central-1").await, World::new("us-west-1").await);
    let foreign = america.token(ProcessRole::Worker, "worker-1", MINUTE).await;
    let status = europe.enroll(&foreign).await.expect_err("foreign");
    assert_eq!(
        (status.code(), reason_of(&status).as_deref()),
        (Code::FailedPrecondition, Some("wrong_region"))
    );
    assert_eq!(metadata_of(&status, "region").as_deref(), Some("us-west-1"));
    assert!(america.enroll(&foreign).await.is_ok());
}

#[tokio::test]
async fn a_certificate_is_renewed_for_its_own_name_and_not_after_its_revocation() {
    let world = World::new("eu-central-1").await;
    let identity = world.join(ProcessRole::Router, "router-1").await;
    let mut client = RenewalServiceClient::new(world.channel(&identity));
    let (key, csr) = new_key_and_csr().expect("made");
    let renewed = client.renew(RenewRequest { csr_pem: csr.0.clone() }).await.expect("renewed").into_inner();
    let enrolled = bailiwick_proto::worker::v1::EnrollResponse {
        certificate_pem: renewed.certificate_pem,
        root_pem: renewed.root_pem,
    };
    assert_eq!(world.identity(enrolled, key).spiffe_id(), identity.spiffe_id());

    let operator = world.operator();
    let page = Page { size: 10, token: None };
    let (rows, _) = world.control_plane.worker_list(&operator, &page).await.expect("listed");
    let id = rows.rows.first().expect("one").row.id;
    world.control_plane.worker_revoke(&operator, id).await.expect("removed");
    client.renew(RenewRequest { csr_pem: csr.0 }).await.expect_err("revoked");
}

#[tokio::test]
async fn a_region_is_initialized_once_and_a_restart_serves_the_same_members() {
    let world = World::new("eu-central-1").await;
    let fingerprint = world.control_plane.parts.authority.fingerprint();
    let identity = world.join(ProcessRole::Worker, "worker-1").await;
    let world = world.restart("eu-central-1").await;
    assert_eq!(world.control_plane.parts.authority.fingerprint(), fingerprint);
    let (_, csr) = new_key_and_csr().expect("made");
    let mut client = RenewalServiceClient::new(world.channel(&identity));
    assert!(client.renew(RenewRequest { csr_pem: csr.0 }).await.is_ok());
}

#[tokio::test]
async fn a_certificate_issued_by_hand_is_recorded_and_bounded_by_its_role() {
    let world = World::new("eu-central-1").await;
    let settings = world.settings();
    let out = tempfile::tempdir().expect("a folder");
    for role in ProcessRole::ALL {
        let folder = out.path().join(role.as_str());
        let made = commands::issue_certificate(&settings, role, "by-hand", &folder, 5 * MINUTE).await;
        assert!(made.is_ok(), "{role}: {made:?}");
        let identity = Identity::load_dir(&folder, world.trust_domain.clone()).expect("loads");
        assert_eq!(identity.spiffe_id(), world.spiffe(role, "by-hand"));
        let over = longest_lifetime(role) + MINUTE;
        let refused = commands::issue_certificate(&settings, role, "by-hand", &folder, over).await;
        assert!(refused.is_err(), "{role} may not live {over:?}");
    }
    let page = Page { size: 100, token: None };
    let records = world.control_plane.parts.store.audit_list(Chain::Region, &page).await.expect("listed");
    let issued: Vec<_> = records.rows.iter().filter(|record| record.action == "certificate.issue").collect();
    let subjects: Vec<_> = issued.iter().map(|record| record.subject.clone()).collect();
    let expected: Vec<_> =
        ProcessRole::ALL.iter().map(|role| world.spiffe(*role, "by-hand").to_string()).collect();
    assert_eq!(subjects, expected);
}
