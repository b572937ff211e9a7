//! The admin API: one file for each gRPC service. A service parses its request at the edge, calls one use case, and turns the answer
//! into a message. Nothing is decided here.

mod audit;
mod backup;
mod credential;
mod destruction;
mod edge;
mod key;
mod key_material;
mod model;
mod organization;
mod policy;
mod price;
mod region;
mod service_account;
pub(crate) mod signup;
mod token;
mod trust;
mod usage;

use std::sync::Arc;

use bailiwick_core::control_plane::ControlPlane;
use bailiwick_proto::admin::v1::{
    audit_service_server::AuditServiceServer, backup_service_server::BackupServiceServer,
    credential_service_server::CredentialServiceServer, destruction_service_server::DestructionServiceServer,
    key_material_service_server::KeyMaterialServiceServer, key_service_server::KeyServiceServer,
    model_service_server::ModelServiceServer, organization_service_server::OrganizationServiceServer,
    policy_service_server::PolicyServiceServer, price_service_server::PriceServiceServer,
    region_service_server::RegionServiceServer, service_account_service_server::ServiceAccountServiceServer,
    token_service_server::TokenServiceServer, trust_service_server::TrustServiceServer,
    usage_service_server::UsageServiceServer,
};
use tokio::sync::Semaphore;
use tonic::service::RoutesBuilder;

/// Largest request of the admin API: a credential's secret and a hundred model names fit many times.
const LARGEST_REQUEST_BYTES: usize = 256 << 10;

/// Anybody may send one: a secret fits several times.
const LARGEST_TOKEN_REQUEST_BYTES: usize = 1 << 10;

/// One service of the admin API. All share the use cases.
#[derive(Clone)]
pub(crate) struct Admin {
    control_plane: Arc<ControlPlane>,
    /// Backups that may be made at once.
    backups: Arc<Semaphore>,
}

impl Admin {
    pub(crate) fn new(control_plane: Arc<ControlPlane>) -> Self {
        Self { control_plane, backups: Arc::new(Semaphore::new(1)) }
    }

    /// Adds every service of the admin API.
    pub(crate) fn add_to(self, routes: &mut RoutesBuilder) {
        macro_rules! add {
            ($($server:ident),+) => {
                $(routes.add_service($server::new(self.clone()).max_decoding_message_size(LARGEST_REQUEST_BYTES));)+
            };
        }
        add!(
            OrganizationServiceServer,
            KeyServiceServer,
            CredentialServiceServer,
            ModelServiceServer,
            PolicyServiceServer,
            PriceServiceServer,
            UsageServiceServer,
            AuditServiceServer,
            RegionServiceServer,
            TrustServiceServer,
            KeyMaterialServiceServer,
            BackupServiceServer,
            DestructionServiceServer,
            ServiceAccountServiceServer
        );
    }

    /// Adds the service that gives out tokens: where callers have nothing else to show.
    pub(crate) fn add_tokens_to(self, routes: &mut RoutesBuilder) {
        routes.add_service(
            TokenServiceServer::new(self).max_decoding_message_size(LARGEST_TOKEN_REQUEST_BYTES),
        );
    }
}

#[cfg(test)]
mod tests;
