//! `RenewalService`: a new certificate for the name in the present one.

use std::sync::Arc;

use bailiwick_core::enrollment::Enrollment;
use bailiwick_domain::region::Regions;
use bailiwick_proto::worker::v1::{RenewRequest, RenewResponse, renewal_service_server::RenewalService};
use tonic::{Request, Response, Status};

use super::membership;

/// The service.
pub(crate) struct RenewalGrpc {
    pub(crate) enrollment: Arc<Enrollment>,
    pub(crate) regions: Regions,
}

#[tonic::async_trait]
impl RenewalService for RenewalGrpc {
    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        let peer = membership::peer(&request)?;
        let renewed = self.enrollment.renew(&peer.spiffe, &request.get_ref().csr_pem).await;
        let renewed = renewed.map_err(|error| membership::refusal(error, &self.regions))?;
        tracing::info!(spiffe = %renewed.spiffe, "certificate renewed");
        let (certificate_pem, root_pem) = (renewed.certificate_pem, renewed.root_pem);
        Ok(Response::new(RenewResponse { certificate_pem, root_pem }))
    }
}
