//! One exchange: a connection of its own, one request, one bounded answer.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bailiwick_domain::{
    egress::AdmittedIssuer,
    provider_secret::EntraClient,
    time::{Clock, Timestamp},
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::{
    exchanged::Grant,
    failure::{Failed, Why},
    reading::{self, Issued},
};
use crate::{
    snapshot::{PreparedEndpoint, SnapshotHandle, USER_AGENT},
    upstream::{ConnectError, Dialler},
};

/// How long one may take, from the resolution of the name to the end of the answer.
const LONGEST: Duration = Duration::from_secs(8);
/// Bytes of an answer.
const LARGEST_ANSWER: usize = 64 << 10;
/// Bytes that a request has room for without being copied: an assertion and what stands around it.
const ROOM: usize = 8 << 10;
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const CLOSE: HeaderValue = HeaderValue::from_static("close");
/// RFC 7523, section 2.1.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// How tokens are asked for.
pub(crate) struct Exchange {
    dialler: Dialler,
    /// Whose policy says where.
    snapshots: SnapshotHandle,
    clock: Arc<dyn Clock>,
    longest: Duration,
}

impl From<ConnectError> for Failed {
    fn from(refused: ConnectError) -> Self {
        match refused {
            ConnectError::Egress => Why::Egress,
            ConnectError::Io(_) | ConnectError::Undone => Why::Unreachable,
            ConnectError::Late => Why::Late,
        }
        .into()
    }
}

impl Exchange {
    pub(crate) fn new(dialler: Dialler, snapshots: SnapshotHandle, clock: Arc<dyn Clock>) -> Self {
        Self { dialler, snapshots, clock, longest: LONGEST }
    }

    /// The same, with less patience.
    #[cfg(test)]
    pub(crate) fn within(self, longest: Duration) -> Self {
        Self { longest, ..self }
    }

    pub(super) async fn run(&self, grant: &Grant) -> Result<Issued, Failed> {
        timeout(self.longest, self.ask(grant)).await.unwrap_or_else(|_late| Err(Why::Late.into()))
    }

    async fn ask(&self, grant: &Grant) -> Result<Issued, Failed> {
        let endpoint = PreparedEndpoint::of(grant.issuer()).ok_or(Why::Unusable)?;
        let admitted = self.admitted(&endpoint)?;
        let request = request(grant, &endpoint, self.clock.now())?;
        let (stream, _) = self.dialler.reach(admitted.host(), endpoint.port, endpoint.is_tls).await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|_| Why::Broken)?;
        let connection = async {
            let _how = connection.await;
            // What came before its end is still to be read.
            std::future::pending::<Infallible>().await
        };
        let answered = async {
            let response = sender.send_request(request).await.map_err(|_| Why::Broken)?;
            self.read(response).await
        };
        tokio::select! {
            answered = answered => answered,
            never = connection => match never {},
        }
    }

    /// By the policy that holds now (R7).
    fn admitted(&self, endpoint: &PreparedEndpoint) -> Result<AdmittedIssuer, Failed> {
        let snapshot = self.snapshots.load();
        let settings = snapshot.settings().ok_or(Why::Egress)?;
        settings.egress.admit_issuer(&endpoint.host, endpoint.port).map_err(|_| Why::Egress.into())
    }

    async fn read(&self, response: Response<Incoming>) -> Result<Issued, Failed> {
        let (head, body) = response.into_parts();
        let body = Limited::new(body, LARGEST_ANSWER).collect().await.map_err(|_| Why::Broken)?.to_bytes();
        reading::read(head.status, &head.headers, &body, self.clock.now())
    }
}

fn request(
    grant: &Grant,
    endpoint: &PreparedEndpoint,
    now: Timestamp,
) -> Result<Request<Full<Bytes>>, Failed> {
    let form = match grant {
        Grant::Entra(client) => entra_form(client),
        Grant::Google(key) => {
            let assertion = key.assertion(now).map_err(|_| Why::Unusable)?;
            form(&[("grant_type", JWT_BEARER), ("assertion", &assertion)])
        }
    };
    let path = if endpoint.path_prefix.is_empty() { "/" } else { &endpoint.path_prefix };
    let uri: Uri = path.parse().map_err(|_| Why::Unusable)?;
    let mut request = Request::new(Full::new(form));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(header::HOST, endpoint.host_header.clone());
    headers.insert(header::CONTENT_TYPE, FORM);
    headers.insert(header::ACCEPT, JSON);
    headers.insert(header::USER_AGENT, USER_AGENT);
    headers.insert(header::CONNECTION, CLOSE);
    Ok(request)
}

/// The client credentials grant (<https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>).
fn entra_form(client: &EntraClient) -> Bytes {
    form(&[
        ("grant_type", "client_credentials"),
        ("client_id", client.client_id()),
        ("client_secret", client.secret()),
        ("scope", client.scope()),
    ])
}

/// Cleared when it was sent.
fn form(fields: &[(&str, &str)]) -> Bytes {
    let mut form = form_urlencoded::Serializer::new(String::with_capacity(ROOM));
    for (name, value) in fields {
        form.append_pair(name, value);
    }
    Bytes::from_owner(Zeroizing::new(form.finish().into_bytes()))
}
