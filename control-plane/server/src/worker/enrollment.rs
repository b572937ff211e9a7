//! `EnrollmentService`: a join token becomes a certificate. Stands alone on a listener that asks for no certificate.

use std::sync::Arc;

use bailiwick_core::enrollment::Enrollment;
use bailiwick_domain::region::Regions;
use bailiwick_proto::worker::v1::{
    EnrollRequest, EnrollResponse, enrollment_service_server::EnrollmentService,
};
use tonic::{Request, Response, Status};

use super::membership;

/// The service.
pub(crate) struct EnrollmentGrpc {
    pub(crate) enrollment: Arc<Enrollment>,
    pub(crate) regions: Regions,
}

#[tonic::async_trait]
impl EnrollmentService for EnrollmentGrpc {
    async fn enroll(&self, request: Request<EnrollRequest>) -> Result<Response<EnrollResponse>, Status> {
        let request = request.into_inner();
        let enrolled = self.enrollment.enroll(&request.join_token, &request.csr_pem).await;
        let enrolled = enrolled.map_err(|error| {
            tracing::warn!(reason = %error, "an enrollment was refused");
            membership::refusal(error, &self.regions)
        })?;
        tracing::info!(spiffe = %enrolled.spiffe, worker = %enrolled.worker, "enrolled");
        let (certificate_pem, root_pem) = (enrolled.certificate_pem, enrolled.root_pem);
        Ok(Response::new(EnrollResponse { certificate_pem, root_pem }))
    }
}
