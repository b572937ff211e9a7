//! The request for a provider: made anew, with nothing of the caller's head but what is listed.

use bailiwick_dialects::{
    Authentication, Call, Dialect, Outgoing, Refused, Reply, Support, Target, passes_anthropic_beta, support,
    translate_count, translate_request,
};
use bailiwick_domain::usage::CallType;
use bailiwick_runtime::serving::ApiError;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;

use super::{Reading, Translation, Wanted};
use crate::{
    dialects, error,
    memory::Hold,
    metering::OpenCall,
    placement::Place,
    request::{Asked, splice},
    snapshot::ModelEntry,
};

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("bailiwick/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Usage is read in passing, so answers come uncompressed.
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
const ANTHROPIC_BETA: HeaderName = HeaderName::from_static("anthropic-beta");
/// What of a caller's head concerns the provider. Everything else (keys, cookies, addresses) stays here.
const PASSED_ON: [HeaderName; 2] = [header::ACCEPT, HeaderName::from_static("openai-beta")];
/// Copies of a body that may exist at once while it is translated: as it came, as it was read, and as it is written, in a buffer that grows.
const TRANSLATED_COPIES: usize = 4;

/// How a request was made, and so how its answer is read.
pub(super) enum MadeAs {
    Passing { withhold_usage: bool },
    Translated(Wanted),
}

impl MadeAs {
    pub(super) fn reading(self, provider: Dialect, call: &OpenCall, model: &ModelEntry) -> Reading {
        match self {
            Self::Passing { withhold_usage } => Reading::Passing { withhold_usage },
            Self::Translated(wanted) => Reading::Translated(Box::new(Translation {
                wanted,
                provider,
                model: model.name.as_str().to_owned(),
                created_seconds: u64::try_from(call.started().as_micros() / 1_000_000).unwrap_or_default(),
                request_id: call.request_id().to_string(),
            })),
        }
    }
}

/// Why there is no request.
pub(super) enum NotMade {
    /// This provider cannot do it.
    Refused(Refused),
    /// None would get one.
    Failed(ApiError),
}

type Made = Result<(Request<Full<Bytes>>, MadeAs), NotMade>;

pub(super) fn make(
    place: &Place,
    call_type: CallType,
    given: &HeaderMap,
    body: &Bytes,
    asked: &Asked,
    hold: &mut Hold,
) -> Made {
    let (call, deployment) = (dialects::call(call_type), place.deployment());
    let target = target(deployment.dialect, deployment.upstream_model.as_str());
    match support(call, deployment.dialect) {
        Support::Translated => return translated(place, call, &target, body, hold),
        // It has no path there, and why.
        Support::Refused(_) => drop(target.path(call, asked.stream).map_err(NotMade::Refused)?),
        Support::Same => {}
    }
    let withhold_usage = asked.stream
        && matches!(call_type, CallType::ChatCompletion | CallType::Completion)
        && !asked.asks_for_usage();
    let spliced = splice(body, asked, target.model, withhold_usage);
    let mut request = match deployment.dialect {
        Dialect::OpenAi | Dialect::OpenAiCompatible => {
            request(place, call.path(), Authentication::Bearer, spliced)?
        }
        _ => {
            let path = target.path(call, asked.stream).map_err(NotMade::Refused)?;
            let mut request = request(place, &path, target.authentication(), spliced)?;
            add(request.headers_mut(), &target.headers(asked.stream));
            request
        }
    };
    for name in PASSED_ON {
        if let Some(value) = given.get(&name) {
            request.headers_mut().insert(name, value.clone());
        }
    }
    pass_beta(request.headers_mut(), given, call, deployment.dialect);
    Ok((request, MadeAs::Passing { withhold_usage }))
}

/// Bedrock is called with its own API keys, which are bearers' tokens; everyone else with the dialect's own kind.
fn target(dialect: Dialect, model: &str) -> Target<'_> {
    Target { bearer: dialect == Dialect::Bedrock, ..Target::new(dialect, model) }
}

fn translated(place: &Place, call: Call, target: &Target<'_>, body: &Bytes, hold: &mut Hold) -> Made {
    // Counted before it is made.
    let room = body.len().saturating_mul(TRANSLATED_COPIES);
    hold.grow_to(room).map_err(|_full| NotMade::Failed(error::overloaded()))?;
    let (outgoing, wanted): (Outgoing<'_>, Wanted) = match call.caller() {
        Some(caller) => {
            let translated: (_, Reply) = translate_request(caller, body, target).map_err(NotMade::Refused)?;
            (translated.0, Wanted::Chat(translated.1))
        }
        None => (translate_count(body, target).map_err(NotMade::Refused)?, Wanted::Count),
    };
    let mut request =
        request(place, &outgoing.path_and_query, outgoing.authentication, outgoing.body.into())?;
    add(request.headers_mut(), &outgoing.headers);
    Ok((request, MadeAs::Translated(wanted)))
}

fn request(
    place: &Place,
    path: &str,
    authentication: Authentication<'_>,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, NotMade> {
    let (endpoint, credential) = (&place.deployment().prepared, place.credential());
    let path = format!("{}{path}", endpoint.path_prefix);
    let uri: Uri =
        path.parse().map_err(|_| NotMade::Failed(ApiError::internal("the endpoint has no path")))?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(header::HOST, endpoint.host_header.clone());
    match authentication {
        Authentication::Bearer => headers.insert(header::AUTHORIZATION, credential.authorization.clone()),
        Authentication::ApiKey(name) => {
            headers.insert(HeaderName::from_static(name), credential.alone.clone())
        }
        Authentication::SigV4 { .. } => {
            return Err(NotMade::Failed(ApiError::internal("the deployment's credential signs nothing")));
        }
    };
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::ACCEPT_ENCODING, IDENTITY);
    headers.insert(header::USER_AGENT, USER_AGENT);
    Ok(request)
}

fn add(headers: &mut HeaderMap, more: &[(&'static str, &'static str)]) {
    for (name, value) in more {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}

fn pass_beta(headers: &mut HeaderMap, given: &HeaderMap, call: Call, provider: Dialect) {
    if !call.is_anthropic() {
        return;
    }
    for value in given.get_all(&ANTHROPIC_BETA) {
        if value.to_str().is_ok_and(|text| passes_anthropic_beta(call, provider, text)) {
            headers.append(ANTHROPIC_BETA, value.clone());
        }
    }
}
