//! The request for a provider: made anew, with nothing of the caller's head but what is listed.

use std::time::{Duration, SystemTime};

use bailiwick_dialects::{
    Authentication, Call, Dialect, Outgoing, Refused, Reply, Support, Target,
    bedrock::{self, AwsCredentials},
    passes_anthropic_beta, support, translate_count, translate_request,
};
use bailiwick_domain::{provider::ApiVersion, provider_secret::AwsKey, time::Clock, usage::CallType};
use bailiwick_runtime::{
    calling::{OutgoingRequest, Payload as _},
    http1::text,
    serving::{ApiError, Fields, HeaderSection},
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header, uri::PathAndQuery};

use super::{Reading, Translation, Wanted, Wish, body::Outbound};
use crate::{
    body::Payload,
    dialects, error,
    memory::Hold,
    metering::OpenCall,
    placement::Place,
    request::splice,
    snapshot::{ModelEntry, Secret},
    tokens::Shown,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
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

impl Default for MadeAs {
    fn default() -> Self {
        Self::Passing { withhold_usage: false }
    }
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
    /// This provider takes another kind of credential.
    Unfit,
    /// None would get one.
    Failed(ApiError),
}

/// Makes `request`, which is empty. It is filled where it is: handed from one to the other, it would be copied each time. `token` is what is shown where the credential is exchanged for such.
pub(super) fn make(
    request: &mut OutgoingRequest<Outbound>,
    place: &Place<'_>,
    token: Option<&Shown>,
    call_type: CallType,
    wish: Wish<'_>,
    hold: &mut Hold,
    clock: &dyn Clock,
) -> Result<MadeAs, NotMade> {
    let Wish { headers: given, body: payload, asked } = wish;
    let (call, deployment) = (dialects::call(call_type), place.deployment());
    let target = target(place);
    let content_type = match payload {
        Payload::Whole(_) => &JSON,
        Payload::Form(upload) => upload.content_type(),
    };
    let mut making = Making { request, place, token, content_type, clock };
    match support(call, deployment.dialect) {
        Support::Translated => {
            // What is translated is JSON.
            let Payload::Whole(body) = payload else { return Err(NotMade::Failed(error::not_json())) };
            return making.translated(call, &target, body, hold);
        }
        // It has no path there, and why.
        Support::Refused(_) => drop(target.path(call, asked.stream).map_err(NotMade::Refused)?),
        Support::Same => {}
    }
    let withhold_usage = asked.stream
        && matches!(call_type, CallType::ChatCompletion | CallType::Completion)
        && !asked.asks_for_usage();
    let body = match payload {
        Payload::Whole(body) => splice(body, asked, target.model, withhold_usage).into(),
        Payload::Form(upload) => Outbound::Form(Box::new(upload.body(target.model))),
    };
    match deployment.dialect {
        Dialect::OpenAi | Dialect::OpenAiCompatible => {
            let path = To::Known(call.path());
            making.fill(path, Authentication::Bearer, body)?;
        }
        _ => {
            let path = target.path(call, asked.stream).map_err(NotMade::Refused)?;
            let path = To::Made(&path);
            making.fill(path, target.authentication(), body)?;
            let mut own = target.headers(asked.stream);
            // A caller knows better what it takes.
            own.retain(|(name, _)| *name != header::ACCEPT.as_str() || !given.contains(&header::ACCEPT));
            add(&mut making.request.fields, &own);
        }
    }
    let fields = &mut making.request.fields;
    for name in PASSED_ON {
        if let Some(value) = given.get(&name) {
            fields.add(&name, value);
        }
    }
    pass_beta(fields, given, call, deployment.dialect);
    Ok(MadeAs::Passing { withhold_usage })
}

/// A deployment as its dialect sees it. Bedrock's own API keys are bearers' tokens, and so are Entra's; AWS keys sign.
fn target<'a>(place: &Place<'a>) -> Target<'a> {
    let deployment = place.deployment();
    let (key, is_token) = match &place.credential().secret {
        Secret::Aws(key) => (Some(key), false),
        Secret::Exchanged(_) => (None, true),
        Secret::Shown { .. } => (None, deployment.dialect == Dialect::Bedrock),
    };
    let aws_region = deployment.aws_region.as_deref().or_else(|| key.and_then(AwsKey::region));
    Target {
        bearer: is_token,
        api_version: deployment.api_version.as_ref().map(ApiVersion::as_str),
        aws_region,
        ..Target::new(deployment.dialect, deployment.upstream_model.as_str())
    }
}

/// Where behind an endpoint's own path a request goes.
#[derive(Clone, Copy)]
enum To<'a> {
    /// One of a few.
    Known(&'static str),
    /// With a model or more in it.
    Made(&'a str),
}

/// A request that is made, and whom for.
struct Making<'a> {
    request: &'a mut OutgoingRequest<Outbound>,
    place: &'a Place<'a>,
    token: Option<&'a Shown>,
    /// What its body is.
    content_type: &'a HeaderValue,
    clock: &'a dyn Clock,
}

impl Making<'_> {
    fn translated(
        &mut self,
        call: Call,
        target: &Target<'_>,
        body: &Bytes,
        hold: &mut Hold,
    ) -> Result<MadeAs, NotMade> {
        // Counted before it is made.
        let room = body.len().saturating_mul(TRANSLATED_COPIES);
        hold.grow_to(room).map_err(|_full| NotMade::Failed(error::overloaded()))?;
        let (outgoing, wanted): (Outgoing<'_>, Wanted) = match call.caller() {
            Some(caller) => {
                let translated: (_, Reply) =
                    translate_request(caller, body, target).map_err(NotMade::Refused)?;
                (translated.0, Wanted::Chat(translated.1))
            }
            None => (translate_count(body, target).map_err(NotMade::Refused)?, Wanted::Count),
        };
        let path = To::Made(&outgoing.path_and_query);
        self.fill(path, outgoing.authentication, Bytes::from(outgoing.body).into())?;
        add(&mut self.request.fields, &outgoing.headers);
        Ok(MadeAs::Translated(wanted))
    }

    fn fill(
        &mut self,
        to: To<'_>,
        authentication: Authentication<'_>,
        body: Outbound,
    ) -> Result<(), NotMade> {
        let endpoint = &self.place.deployment().prepared;
        let prefix = &*endpoint.path_prefix;
        let target = match to {
            To::Known(path) => self.place.standing().target(prefix, path),
            To::Made(path) => PathAndQuery::try_from([prefix, path].concat()),
        };
        let target = target.map_err(|_| NotMade::Failed(ApiError::internal("the endpoint has no path")))?;
        self.request.fields.add_lines(&endpoint.fields);
        self.request.fields.add(&header::CONTENT_TYPE, self.content_type.as_bytes());
        self.prove(&target, authentication, &body)?;
        self.request.method = Method::POST;
        self.request.target = target;
        self.request.body = body;
        Ok(())
    }

    /// Proves who calls. A secret that signs is never shown, whatever the deployment is: its text would be a secret of somebody else's in a header.
    fn prove(
        &mut self,
        target: &PathAndQuery,
        authentication: Authentication<'_>,
        body: &Outbound,
    ) -> Result<(), NotMade> {
        let fields = &mut self.request.fields;
        match (authentication, &self.place.credential().secret) {
            (Authentication::Bearer, Secret::Shown { authorization, .. }) => {
                fields.add(&header::AUTHORIZATION, authorization.as_bytes());
            }
            (Authentication::Bearer, Secret::Exchanged(_)) => {
                let shown = self.token.ok_or(NotMade::Unfit)?;
                fields.add(&header::AUTHORIZATION, shown.authorization.as_bytes());
            }
            (Authentication::ApiKey(name), Secret::Shown { alone, .. }) => {
                fields.add(&HeaderName::from_static(name), alone.as_bytes());
            }
            (Authentication::SigV4 { service, region }, Secret::Aws(key)) if !region.is_empty() => {
                // All of it is signed, so all of it has to be here.
                let body = body.whole().ok_or(NotMade::Unfit)?;
                let signed = sign(self.place, target, (service, region), key, body, self.clock);
                let failed = || NotMade::Failed(ApiError::internal("the request cannot be signed"));
                for (name, value) in signed.ok_or_else(failed)? {
                    let name = HeaderName::try_from(name).map_err(|_| failed())?;
                    fields.add(&name, value.as_bytes());
                }
            }
            _ => return Err(NotMade::Unfit),
        }
        Ok(())
    }
}

/// AWS' signature of the whole request: its method, host, path, type and body, at this moment. `None`: it cannot be signed.
fn sign(
    place: &Place<'_>,
    target: &PathAndQuery,
    (service, region): (&str, &str),
    key: &AwsKey,
    body: &Bytes,
    clock: &dyn Clock,
) -> Option<Vec<(String, String)>> {
    let endpoint = &place.deployment().prepared;
    let scheme = if endpoint.is_tls { "https" } else { "http" };
    let host = endpoint.host_header.to_str().ok()?;
    let credentials = AwsCredentials {
        access_key_id: key.id(),
        secret_access_key: key.secret(),
        session_token: key.session_token(),
    };
    let micros = u64::try_from(clock.now().as_micros()).unwrap_or_default();
    let now = SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
    let url = format!("{scheme}://{host}{target}");
    bedrock::sign(&url, &[("content-type", "application/json")], body, credentials, region, service, now).ok()
}

fn add(fields: &mut Fields, more: &[(&'static str, &'static str)]) {
    for (name, value) in more {
        fields.add(&HeaderName::from_static(name), value.as_bytes());
    }
}

fn pass_beta(fields: &mut Fields, given: &HeaderSection, call: Call, provider: Dialect) {
    if !call.is_anthropic() {
        return;
    }
    for value in given.get_all(&ANTHROPIC_BETA) {
        if text(value).is_some_and(|text| passes_anthropic_beta(call, provider, text)) {
            fields.add(&ANTHROPIC_BETA, value);
        }
    }
}
