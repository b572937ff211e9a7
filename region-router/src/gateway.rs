//! A request's path through the router, whole.
//!
//! Admission sees the head and nothing else: the body is not in its hands (R6). What it admits is passed to a worker as it comes, and the
//! answer back as it comes.

use std::{pin::pin, rc::Rc, sync::Arc};

use bailiwick_domain::usage::RequestId;
use bailiwick_runtime::{
    fault,
    serving::{
        ClientAddressFrom, ConnectionInfo, ErrorShape, Fields, IncomingRequest, RequestBody, ResponseBody,
        Service,
    },
    turn,
};
use http::{HeaderValue, Method, Response, header::CONNECTION};
use http_body::Body as _;
use tracing::Instrument as _;

use crate::{
    admission::Admission,
    error,
    forward::{Forward, Told},
    metrics::CoreMetrics,
    signup::{self, Signup},
};

/// What one core serves with.
pub(crate) struct Gateway {
    pub(crate) admission: Arc<Admission>,
    pub(crate) client_address_from: ClientAddressFrom,
    pub(crate) forward: Rc<Forward>,
    /// `None`: `/v1/signup` is not passed on here.
    pub(crate) signup: Option<Signup>,
    pub(crate) metrics: CoreMetrics,
}

impl Service for Gateway {
    async fn call(
        &self,
        request: &mut IncomingRequest<RequestBody>,
        connection: &ConnectionInfo,
        told: &mut Fields,
    ) -> Response<ResponseBody> {
        turn::give_way().await;
        let request_id = RequestId::random();
        let has_body = !request.body().is_end_stream();
        let shape = ErrorShape::of_path(request.uri().path());
        fault::step("route", request.uri().path_and_query().map_or("", |path| path.as_str()).as_bytes());
        let span = tracing::debug_span!("route", %request_id, status = tracing::field::Empty);
        let answer = if request.uri().path() == signup::PATH {
            match (&self.signup, *request.method() == Method::POST) {
                (Some(signup), true) => {
                    // Rarely, so it takes no room in a call.
                    let signing_up = Box::pin(signup.sign_up(&self.admission, request, request_id));
                    signing_up.instrument(span.clone()).await
                }
                (Some(_), false) => Err(error::method_not_allowed("POST")),
                (None, _) => Err(error::not_found()),
            }
        } else {
            match self.admission.judge(request.headers()) {
                Ok(admitted) => {
                    let client = self.client_address_from.of(request.headers(), connection);
                    let to_worker = Told { request_id, client };
                    // Pinned where it is made: it is large, and would be moved several times before it begins.
                    let forwarded = pin!(self.forward.call(admitted, request, to_worker, told));
                    forwarded.instrument(span.clone()).await
                }
                // The body is let go of with the request, unread.
                Err(refused) => Err(refused),
            }
        };
        let response = answer.unwrap_or_else(|error| {
            self.metrics.refused(error.code);
            let mut response = error.into_response_for(shape, request_id);
            if has_body {
                // It may be unread; it is thrown away with the connection, and nobody shall send another request behind it.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            response
        });
        span.record("status", response.status().as_u16());
        self.metrics.answered(response.status());
        response
    }
}
