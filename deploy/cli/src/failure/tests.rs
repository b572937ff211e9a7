use bailiwick_proto::status::Refusal;
use tonic::{Code, Status};

use super::*;

fn failure(refusal: Refusal) -> Failure {
    Status::from(refusal).into()
}

#[test]
fn every_broken_rule_is_told() {
    let failure = failure(Refusal::violations(vec![
        Violation { field: "name".into(), description: "is empty".into() },
        Violation { field: "deployment_ids".into(), description: "1 to 32".into() },
    ]));
    assert_eq!(failure.exit, Exit::Failed);
    insta::assert_snapshot!(failure.to_string(), @r"
    the request is invalid: name, deployment_ids (invalid_argument)
      name: is empty
      deployment_ids: 1 to 32
    ");
}

#[test]
fn an_identifier_of_another_region_names_the_region_to_ask() {
    let refusal = Refusal::new(Code::FailedPrecondition, "wrong_region", "this is eu-central-1")
        .with("region", "us-east-1");
    insta::assert_snapshot!(failure(refusal).to_string(), @r"
    this is eu-central-1 (wrong_region)
    hint: ask there: --region us-east-1
    ");
}

#[test]
fn when_to_try_again_is_told() {
    let refusal = Refusal::new(Code::ResourceExhausted, "too_many", "too many at once")
        .retry_after(std::time::Duration::from_secs(90));
    insta::assert_snapshot!(failure(refusal).to_string(), @r"
    too many at once (too_many)
    hint: try again in 1m 30s
    ");
}

#[test]
fn exit_codes_are_the_documented_ones() {
    for (code, exit) in [
        (Code::InvalidArgument, Exit::Failed),
        (Code::Internal, Exit::Failed),
        (Code::Unavailable, Exit::Unreachable),
        (Code::DeadlineExceeded, Exit::Unreachable),
        (Code::PermissionDenied, Exit::Denied),
        (Code::Unauthenticated, Exit::Denied),
        (Code::NotFound, Exit::NotFound),
    ] {
        assert_eq!(Failure::from(Status::new(code, "x")).exit, exit, "{code:?}");
    }
}

#[test]
fn a_broken_connection_is_told_by_its_cause() {
    let cause = std::io::Error::other("connection refused");
    let failure = Failure::from(Status::from_error(Box::new(cause)));
    assert_eq!(failure.exit, Exit::Unreachable);
    assert!(failure.message.contains("connection refused"), "{failure}");
}

#[test]
fn programs_get_reason_and_exit_code() {
    let json = serde_json::to_value(failure(Refusal::not_found("the key"))).unwrap();
    assert_eq!(json["reason"], "not_found");
    assert_eq!(json["exit_code"], 5);
    assert_eq!(json["message"], "the key is not found");
}
