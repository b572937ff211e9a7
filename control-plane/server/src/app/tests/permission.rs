//! R3: who may call what, over real connections.

use bailiwick_domain::spiffe::ProcessRole;
use bailiwick_proto::{
    admin::v1::{GetRegionRequest, region_service_client::RegionServiceClient},
    worker::v1::{
        RenewRequest, SignUpRequest, SnapshotRequest, WatchRequest,
        configuration_service_client::ConfigurationServiceClient,
        discovery_service_client::DiscoveryServiceClient, renewal_service_client::RenewalServiceClient,
        signup_service_client::SignupServiceClient, usage_service_client::UsageServiceClient,
    },
};
use tonic::{Code, transport::Channel};

use super::world::{World, channel};

/// The code of each method of the API for processes, called without a meaning.
async fn codes(channel: Channel) -> [Code; 6] {
    let code = |status: Option<tonic::Status>| status.map_or(Code::Ok, |status| status.code());

    [
        code(ConfigurationServiceClient::new(channel.clone()).subscribe(tokio_stream::empty()).await.err()),
        code(
            ConfigurationServiceClient::new(channel.clone()).snapshot(SnapshotRequest::default()).await.err(),
        ),
        code(UsageServiceClient::new(channel.clone()).report(tokio_stream::empty()).await.err()),
        code(DiscoveryServiceClient::new(channel.clone()).watch(WatchRequest::default()).await.err()),
        code(SignupServiceClient::new(channel.clone()).sign_up(SignUpRequest::default()).await.err()),
        code(RenewalServiceClient::new(channel).renew(RenewRequest::default()).await.err()),
    ]
}

#[tokio::test]
async fn r3_each_role_reaches_only_what_the_table_gives_it() {
    use Code::{InvalidArgument, Ok, PermissionDenied};
    let world = World::new("eu-central-1").await;
    let worker = world.join(ProcessRole::Worker, "worker-1").await;
    let router = world.join(ProcessRole::Router, "router-1").await;
    let as_worker = codes(world.channel(&worker)).await;
    assert_eq!(
        as_worker,
        [InvalidArgument, InvalidArgument, Ok, PermissionDenied, PermissionDenied, InvalidArgument]
    );
    let as_router = codes(world.channel(&router)).await;
    assert_eq!(
        as_router,
        [
            PermissionDenied,
            PermissionDenied,
            PermissionDenied,
            InvalidArgument,
            InvalidArgument,
            InvalidArgument
        ]
    );
}

#[tokio::test]
async fn r3_a_process_does_not_reach_the_admin_api_nor_an_operator_the_one_for_processes() {
    let world = World::new("eu-central-1").await;
    let (worker, operator) =
        (world.join(ProcessRole::Worker, "worker-1").await, world.certify(ProcessRole::Operator, "alice"));
    let mut admin = RegionServiceClient::new(channel(world.admin, &operator));
    assert_eq!(admin.get_region(GetRegionRequest {}).await.expect("served").into_inner().code, "euc1");
    let mut admin = RegionServiceClient::new(channel(world.admin, &worker));
    assert!(admin.get_region(GetRegionRequest {}).await.is_err());
    for code in codes(world.channel(&operator)).await {
        assert!(!matches!(code, Code::Ok | Code::InvalidArgument), "{code:?}");
    }
}

#[tokio::test]
async fn r3_a_process_of_another_region_does_not_get_past_the_handshake() {
    let (europe, america) = (World::new("eu-central-1").await, World::new("us-west-1").await);
    let foreign = america.join(ProcessRole::Worker, "worker-1").await;
    for code in codes(channel(europe.workers, &foreign)).await {
        assert!(!matches!(code, Code::Ok | Code::InvalidArgument | Code::PermissionDenied), "{code:?}");
    }
}

#[tokio::test]
async fn a_certificate_whose_worker_the_store_does_not_know_opens_no_stream() {
    let world = World::new("eu-central-1").await;
    let stranger = world.certify(ProcessRole::Worker, "worker-9");
    let codes = codes(world.channel(&stranger)).await;
    assert!(codes.iter().all(|code| *code == Code::PermissionDenied), "{codes:?}");
}
