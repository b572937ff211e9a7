//! Signing up, as routers ask for it.

use std::time::Duration;

use bailiwick_proto::{
    status::{reason_of, retry_after_of},
    worker::v1::SignUpRequest,
};
use tonic::Code;

use super::world::{World, fresh};

fn request() -> SignUpRequest {
    SignUpRequest {
        region: "eu-central-1".into(),
        organization_name: "Acme".into(),
        email: "someone@example.com".into(),
        idempotency_key: fresh(),
    }
}

#[tokio::test]
async fn it_is_closed_unless_the_operator_opened_it() {
    let world = World::new().await;
    let refused = world.signup().sign_up(request()).await.expect_err("closed");
    assert_eq!(
        (refused.code(), reason_of(&refused).as_deref()),
        (Code::PermissionDenied, Some("signup_closed"))
    );
}

#[tokio::test]
async fn no_more_sign_up_within_a_minute_than_the_operator_allows() {
    let world = World::with("signup = { mode = \"open\", per_minute = 2 }").await;
    // To the beginning of a minute of its clock, so that none begins in between.
    let into = world.control_plane.parts.clock.now().as_micros() % 60_000_000;
    world.clock.advance(Duration::from_micros(u64::try_from(60_000_000 - into).expect("positive")));
    for _ in 0..2 {
        let made = world.signup().sign_up(request()).await.expect("signed up").into_inner();
        assert!(made.api_key.starts_with("bw_euc1_"));
    }
    let refused = world.signup().sign_up(request()).await.expect_err("too many");
    assert_eq!(
        (refused.code(), reason_of(&refused).as_deref()),
        (Code::ResourceExhausted, Some("signup_limit"))
    );
    assert_eq!(retry_after_of(&refused), Some(Duration::from_secs(60)));
    let elsewhere = SignUpRequest { region: "us-west-1".into(), ..request() };
    let refused = world.signup().sign_up(elsewhere).await.expect_err("elsewhere");
    assert_eq!(reason_of(&refused).as_deref(), Some("wrong_region"), "no matter how many signed up here");
    world.minutes_pass(1);
    world.signup().sign_up(request()).await.expect("signed up");
}
