use std::{sync::Arc, time::Duration};

use bailiwick_core::{
    enrollment::{CERTIFICATE_LIFETIME, Enrollment, Period, longest_lifetime},
    ports::vault::Validity,
    records::{Chain, Page},
};
use bailiwick_domain::{
    spiffe::ProcessRole,
    time::{ManualClock, Timestamp},
};
use bailiwick_proto::{
    status::{metadata_of, reason_of},
    worker::v1::{
        EnrollResponse, RecoverRequest, RecoverResponse, RenewRequest,
        enrollment_service_client::EnrollmentServiceClient, renewal_service_client::RenewalServiceClient,
    },
};
use bailiwick_runtime::{
    grpc,
    identity::{Identity, PinnedConnector, new_key_and_csr},
};
use tonic::Code;

use super::world::{World, channel};
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
        let made =
            commands::issue_certificate(&settings, role, "by-hand", &folder, Period::Lasting(5 * MINUTE))
                .await;
        assert!(made.is_ok(), "{role}: {made:?}");
        let identity = Identity::load_dir(&folder, world.trust_domain.clone()).expect("loads");
        assert_eq!(identity.spiffe_id(), world.spiffe(role, "by-hand"));
        let over = longest_lifetime(role) + MINUTE;
        let refused =
            commands::issue_certificate(&settings, role, "by-hand", &folder, Period::Lasting(over)).await;
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

#[tokio::test]
async fn a_certificate_may_be_issued_for_a_time_that_is_over_and_for_none_that_is_far_away() {
    let world = World::new("eu-central-1").await;
    let settings = world.settings();
    let out = tempfile::tempdir().expect("a folder");
    let second = |at: Timestamp| at.as_micros().div_euclid(1_000_000);
    let now = Timestamp::from_micros(second(world.control_plane.parts.clock.now()) * 1_000_000);
    let issue = async |from: Timestamp, until: Timestamp| {
        let period = Period::Between(Validity { from, until });
        commands::issue_certificate(&settings, ProcessRole::Operator, "alice", out.path(), period).await
    };
    let (earlier, later) =
        (|minutes| now.saturating_sub(MINUTE * minutes), |minutes| now.saturating_add(MINUTE * minutes));
    for (from, until) in [(earlier(20), earlier(10)), (earlier(20), later(10)), (later(4), later(5))] {
        issue(from, until).await.expect("issued");
        let identity = Identity::load_dir(out.path(), world.trust_domain.clone()).expect("loads");
        assert_eq!((identity.issued(), identity.expires()), (from, until));
    }
    let year = 365 * 24 * 60;
    for (from, until, why) in [
        (earlier(10), earlier(10), "has to end after it begins"),
        (earlier(10), earlier(20), "has to end after it begins"),
        (earlier(1), later(year), "may live"),
        (later(7), later(9), "5 minutes from now"),
        (earlier(year + 10), earlier(20), "a year ago"),
    ] {
        let refused = issue(from, until).await.expect_err(why);
        assert!(format!("{refused:#}").contains(why), "{refused:#}");
    }
    // Whose certificates are revoked gets none from before that.
    let revoked =
        world.control_plane.certificate_revoke(&world.operator(), ProcessRole::Operator, "alice").await;
    revoked.expect("revoked");
    let refused = issue(earlier(20), later(10)).await.expect_err("revoked");
    assert!(format!("{refused:#}").contains("is revoked"), "{refused:#}");
}

/// A member that joined 25 hours ago, and was not heard of since.
async fn expired_member(world: &World, name: &str) -> Identity {
    let parts = &world.control_plane.parts;
    let then = parts.clock.now().saturating_sub(25 * 60 * MINUTE);
    let enrollment = Enrollment {
        store: Arc::clone(&parts.store),
        vault: Arc::clone(&parts.vault),
        authority: Arc::clone(&parts.authority),
        clock: Arc::new(ManualClock::at(then)),
        jurisdiction: parts.jurisdiction.clone(),
        trust_domain: parts.trust_domain.clone(),
        pepper: parts.pepper.clone(),
        certificate_lifetime: CERTIFICATE_LIFETIME,
    };
    let token = world.token(ProcessRole::Worker, name, MINUTE).await;
    let (key, csr) = new_key_and_csr().expect("made");
    let enrolled = enrollment.enroll(token.expose(), &csr.0).await.expect("enrolled");
    let (certificate_pem, root_pem) = (enrolled.certificate_pem, enrolled.root_pem);
    world.identity(EnrollResponse { certificate_pem, root_pem }, key)
}

async fn recover(world: &World, identity: &Identity) -> Result<RecoverResponse, tonic::Status> {
    let (_, csr) = new_key_and_csr().expect("made");
    let channel = channel(world.enrollment, identity);
    let answer = EnrollmentServiceClient::new(channel).recover(RecoverRequest { csr_pem: csr.0 }).await;
    Ok(answer?.into_inner())
}

#[tokio::test]
async fn a_member_whose_certificate_has_expired_gets_one_more_for_it() {
    let world = World::new("eu-central-1").await;
    let expired = expired_member(&world, "worker-1").await;
    assert!(world.refuses_in_the_handshake(world.workers, &expired).await);
    let recovered = recover(&world, &expired).await.expect("recovered");
    assert!(recovered.certificate_pem.contains("CERTIFICATE"));
    // It is not the newest any more: who copied it comes too late, or is noticed because the member does.
    let again = recover(&world, &expired).await.expect_err("superseded");
    assert_eq!(
        (again.code(), reason_of(&again).as_deref()),
        (Code::PermissionDenied, Some("certificate_superseded"))
    );
}

#[tokio::test]
async fn r3_nobody_recovers_without_a_certificate_or_after_a_revocation() {
    let world = World::new("eu-central-1").await;
    let fingerprint = world.control_plane.parts.authority.fingerprint();
    let pinned = PinnedConnector::new(fingerprint, world.trust_domain.clone()).expect("TLS 1.3");
    let nobody = grpc::channel(&world.enrollment.to_string(), &pinned).expect("an address");
    let (_, csr) = new_key_and_csr().expect("made");
    let refused = EnrollmentServiceClient::new(nobody).recover(RecoverRequest { csr_pem: csr.0 }).await;
    assert_eq!(reason_of(&refused.expect_err("refused")).as_deref(), Some("no_certificate"));

    let expired = expired_member(&world, "worker-1").await;
    let parts = &world.control_plane.parts;
    let worker = parts.store.worker_fetch_by_name(ProcessRole::Worker, "worker-1").await.expect("read");
    let id = worker.expect("there").id;
    world.control_plane.worker_revoke(&world.operator(), id).await.expect("revoked");
    recover(&world, &expired).await.expect_err("revoked");
    // Of another region that has a member of the same name.
    let america = World::new("us-west-1").await;
    let foreign = expired_member(&america, "worker-2").await;
    world.join(ProcessRole::Worker, "worker-2").await;
    recover(&world, &foreign).await.expect_err("foreign");
}
