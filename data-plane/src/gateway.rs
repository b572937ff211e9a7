//! A call's path, whole. Each step takes the proof that the one before it made, so none can be skipped:
//!
//! authenticate → (read the body) → permit → place → admit → forward → meter.
//!
//! Until the caller is authenticated, the body is not touched: a foreign or unknown key costs its caller nothing but a head.

use std::{pin::pin, rc::Rc, sync::Arc};

use bailiwick_domain::{
    jurisdiction::Jurisdiction,
    region::Regions,
    spiffe::ProcessRole,
    time::Clock,
    usage::{CallType, RequestId},
};
use bailiwick_runtime::{
    fault, in_place,
    serving::{
        ApiError, ConnectionInfo, ErrorShape, Fields, HeaderSection, IncomingRequest, REQUEST_ID_HEADERS,
        RequestBody, ResponseBody, Service,
    },
    turn,
};
use http::{HeaderName, HeaderValue, Method, Response, header::CONNECTION};
use http_body::Body as _;
use tracing::Instrument as _;

use crate::{
    admission::{Admission, Admitted, Asking},
    answer, authentication,
    body::{self, Payload},
    error,
    limits::Limiter,
    memory::{Hold, Share},
    metering::Meter,
    models,
    origin::Origin,
    permission, placement, request,
    snapshot::{Snapshot, SnapshotHandle},
    timing::Timing,
    upload::Upload,
    upstream::{Upstream, Wish},
};

/// The header that Anthropic's SDKs show.
const ANTHROPIC_REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// What one core serves with.
pub(crate) struct Gateway {
    pub(crate) snapshots: SnapshotHandle,
    pub(crate) limiter: Limiter,
    pub(crate) meter: Meter,
    pub(crate) upstream: Rc<Upstream>,
    pub(crate) memory: Share,
    pub(crate) here: Arc<Here>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Bound of a request's body.
    pub(crate) max_body_bytes: usize,
    /// The same of one with a file, which passes while it comes.
    pub(crate) max_upload_bytes: usize,
}

/// Where this worker is.
#[derive(Debug)]
pub(crate) struct Here {
    pub(crate) jurisdiction: Jurisdiction,
    /// All regions, to say which is right.
    pub(crate) regions: Regions,
    /// The region's name, for the answer's header.
    pub(crate) name: HeaderValue,
}

impl Here {
    /// The same, in memory that no other core counts its users of.
    pub(crate) fn for_one_core(&self) -> Arc<Self> {
        let name = HeaderValue::from_bytes(self.name.as_bytes()).unwrap_or_else(|_| self.name.clone());
        Arc::new(Self { jurisdiction: self.jurisdiction.clone(), regions: self.regions.clone(), name })
    }
}

/// What a call leaves in the head of its answer, whatever that is.
struct AnswerHead<'a> {
    told: &'a mut Fields,
    /// Whether the caller may still be sending the request's body.
    is_body_unread: bool,
}

enum Route<'a> {
    Call(CallType),
    Models,
    Model(&'a str),
}

impl Service for Gateway {
    async fn call(
        &self,
        request: &mut IncomingRequest<RequestBody>,
        connection: &ConnectionInfo,
        told: &mut Fields,
    ) -> Response<ResponseBody> {
        let timing = Timing::begin();
        let request_id = request_id(request.headers(), connection);
        let origin = Origin::of(request.headers(), connection);
        let body = std::mem::take(request.body_mut());
        let head = &*request;
        let shape = ErrorShape::of_path(head.uri().path());
        let mut head_of_answer = AnswerHead { told, is_body_unread: !body.is_end_stream() };
        // Its fields are all that is told of a call: ids and numbers, nothing that was said (R8). Where no spans are exported it costs a branch.
        let span = tracing::debug_span!("call", %request_id, status = tracing::field::Empty);
        // In a place of its own: connections that wait for a request would carry its room.
        let answering =
            in_place::pinned(|| self.answer(head, body, request_id, origin, &mut head_of_answer, &timing));
        let answered = answering.instrument(span.clone()).await;
        let AnswerHead { told, is_body_unread } = head_of_answer;
        let mut response = answered.unwrap_or_else(|error| {
            told.clear();
            error.into_response_for(shape, request_id)
        });
        span.record("status", response.status().as_u16());
        if is_body_unread {
            // What is left of the body is thrown away with the connection: nobody shall send another request behind it.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.mark(told, request_id, shape);
        timing.tell_in(told);
        response
    }
}

impl Gateway {
    /// `head`: its body is taken out of it.
    async fn answer(
        &self,
        head: &IncomingRequest<RequestBody>,
        body: RequestBody,
        request_id: RequestId,
        origin: Origin,
        of_answer: &mut AnswerHead<'_>,
        timing: &Timing,
    ) -> Result<Response<ResponseBody>, ApiError> {
        let route = route(head)?;
        turn::give_way().await;
        let snapshot = self.snapshots.load_full();
        let caller = authentication::authenticate(
            &self.here,
            &snapshot,
            head.headers(),
            origin,
            &*self.clock,
            timing.begun(),
        )?;
        let call_type = match route {
            Route::Models => return Ok(models::list(&snapshot, &caller)),
            Route::Model(name) => return models::one(&snapshot, &caller, name),
            Route::Call(call_type) => call_type,
        };
        let mut hold = self.memory.hold();
        let (payload, asked) = match body::form(head.headers(), call_type)? {
            None => {
                let read = pin!(body::read(head.headers(), body, self.max_body_bytes, &mut hold));
                let bytes = timing.waiting(read).await?;
                of_answer.is_body_unread = false;
                let asked = request::scan(&bytes)?;
                (Payload::Whole(bytes), asked)
            }
            Some(content_type) => {
                // In a place of its own, because most calls have no form, and all would carry its room.
                let read = Upload::begin(body, &content_type, self.max_upload_bytes, self.memory.hold());
                let (upload, asked) = timing.waiting(Box::pin(read)).await?;
                of_answer.is_body_unread = upload.is_unread();
                (Payload::Form(Box::new(upload)), asked)
            }
        };
        turn::give_way().await;
        fault::step("permit", payload.beginning());
        let permitted = permission::permit(&snapshot, caller, &asked.model)?;
        let placed = placement::place(&snapshot, permitted, self.upstream.standings(), timing.begun())?;
        let shape = ErrorShape::of_path(head.uri().path());
        let body_bytes = payload.bytes().unwrap_or(self.max_upload_bytes);
        let asking = Asking { call_type, request_id, asked: &asked, body_bytes, shape };
        let admission = Admission { limiter: &self.limiter, meter: &self.meter, clock: &*self.clock };
        let admitted = pin!(admission.admit(&snapshot, placed, asking)).await?;
        timing.tell();
        turn::give_way().await;
        let told = admitted.told();
        let wish = Wish { headers: head.headers(), body: &payload, asked: &asked };
        // Pinned where it is made, as all that is large on this way: awaited as it comes, it would be moved once more.
        let answered = pin!(self.forward(admitted, &snapshot, wish, &mut hold, of_answer.told, timing)).await;
        of_answer.is_body_unread = payload.is_unread();
        match told {
            Some(told) => told.in_answer(answered, of_answer.told),
            None => answered,
        }
    }

    async fn forward<'a>(
        &'a self,
        admitted: Admitted<'a>,
        snapshot: &'a Snapshot,
        wish: Wish<'_>,
        hold: &mut Hold,
        told: &mut Fields,
        timing: &Timing,
    ) -> Result<Response<ResponseBody>, ApiError> {
        let sent = pin!(self.upstream.send(admitted, &self.limiter, snapshot, wish, hold, timing)).await?;
        let timeouts = self.upstream.timeouts();
        pin!(answer::pass_on(sent, &self.clock, timeouts, self.memory.hold(), told, timing)).await
    }

    /// Every answer names its call and its region.
    fn mark(&self, told: &mut Fields, request_id: RequestId, shape: ErrorShape) {
        let id = request_id.to_ascii();
        for name in &REQUEST_ID_HEADERS {
            told.put(name, &id);
        }
        if shape == ErrorShape::Anthropic {
            told.put(&ANTHROPIC_REQUEST_ID, &id);
        }
        told.put(&error::REGION, self.here.name.as_bytes());
    }
}

fn route(head: &IncomingRequest<RequestBody>) -> Result<Route<'_>, ApiError> {
    let (route, method) = match head.uri().path() {
        "/v1/chat/completions" => (Route::Call(CallType::ChatCompletion), Method::POST),
        "/v1/completions" => (Route::Call(CallType::Completion), Method::POST),
        "/v1/embeddings" => (Route::Call(CallType::Embedding), Method::POST),
        "/v1/responses" => (Route::Call(CallType::Response), Method::POST),
        "/v1/messages" => (Route::Call(CallType::Message), Method::POST),
        "/v1/messages/count_tokens" => (Route::Call(CallType::TokenCount), Method::POST),
        "/v1/images/generations" => (Route::Call(CallType::Image), Method::POST),
        "/v1/audio/speech" => (Route::Call(CallType::Speech), Method::POST),
        "/v1/audio/transcriptions" => (Route::Call(CallType::Transcription), Method::POST),
        "/v1/audio/translations" => (Route::Call(CallType::AudioTranslation), Method::POST),
        "/v1/moderations" => (Route::Call(CallType::Moderation), Method::POST),
        "/v1/models" => (Route::Models, Method::GET),
        path => match path.strip_prefix("/v1/models/") {
            Some(name) if !name.is_empty() => (Route::Model(name), Method::GET),
            _ => return Err(error::not_found()),
        },
    };
    if *head.method() != method {
        return Err(error::method_not_allowed(&method));
    }
    Ok(route)
}

/// The router's, where a router calls; a caller's own is never believed.
fn request_id(headers: &HeaderSection, connection: &ConnectionInfo) -> RequestId {
    let [name, _] = REQUEST_ID_HEADERS;
    let from_router = connection.peer.as_ref().is_some_and(|peer| peer.spiffe.role == ProcessRole::Router);
    let given = if from_router { headers.text(&name) } else { None };
    given.and_then(|text| text.parse().ok()).unwrap_or_else(RequestId::random)
}

#[cfg(test)]
mod tests;
