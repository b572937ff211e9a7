//! `EnrollmentService`: a join token becomes a certificate, and one that has expired a new one. Stands alone on a listener that insists on none.

use std::sync::Arc;

use bailiwick_core::enrollment::Enrollment;
use bailiwick_domain::region::Regions;
use bailiwick_proto::status::Refusal;
use bailiwick_proto::worker::v1::{
    EnrollRequest, EnrollResponse, RecoverRequest, RecoverResponse,
    enrollment_service_server::EnrollmentService,
};
use bailiwick_runtime::identity::Newcomer;
use tonic::{Code, Request, Response, Status};

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

    async fn recover(&self, request: Request<RecoverRequest>) -> Result<Response<RecoverResponse>, Status> {
        let newcomer = request.extensions().get::<Newcomer>();
        let Some(returning) = newcomer.and_then(|newcomer| newcomer.returning.clone()) else {
            let message = "the certificate that has expired is needed here, in the handshake";
            return Err(Refusal::new(Code::Unauthenticated, "no_certificate", message).into());
        };
        let csr = &request.get_ref().csr_pem;
        let recovered = self.enrollment.recover(&returning.spiffe, returning.expires, csr).await;
        let recovered = recovered.map_err(|error| {
            tracing::warn!(spiffe = %returning.spiffe, reason = %error, "a recovery was refused");
            membership::refusal(error, &self.regions)
        })?;
        tracing::warn!(spiffe = %recovered.spiffe, "a certificate that had expired was replaced");
        let (certificate_pem, root_pem) = (recovered.certificate_pem, recovered.root_pem);
        Ok(Response::new(RecoverResponse { certificate_pem, root_pem }))
    }
}
