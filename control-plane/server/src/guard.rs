//! What stands before every service of every listener: the method must have a row in [`crate::rpcs`], and the caller what the row says.
//!
//! It is the only place that makes a [`Caller`] of a request, and services of the admin API take theirs from here: one that is served without a guard serves
//! nobody.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bailiwick_core::{caller::Caller, control_plane::ControlPlane};
use bailiwick_proto::status::Refusal;
use bailiwick_runtime::identity::Peer;
use tonic::{
    Code, Status,
    body::Body,
    codegen::http::{HeaderMap, Request, Response, header::AUTHORIZATION, request::Parts},
};
use tower::{Layer, Service};

use crate::{
    rpcs::{self, Listener, Needs},
    status,
};

/// The guard of one listener.
#[derive(Clone)]
pub(crate) struct Guard {
    listener: Listener,
    control_plane: Arc<ControlPlane>,
}

impl Guard {
    pub(crate) fn new(listener: Listener, control_plane: Arc<ControlPlane>) -> Self {
        Self { listener, control_plane }
    }

    /// Who calls is noted with the request; what the row does not allow is refused.
    async fn admit(&self, request: &mut Parts) -> Result<(), Status> {
        let Some(rpc) = rpcs::find(request.uri.path(), self.listener) else {
            let message = "there is no such method on this listener";
            return Err(Refusal::new(Code::Unimplemented, "unknown_method", message).into());
        };
        if rpc.needs == Needs::Nothing {
            return Ok(());
        }
        let caller = self.caller(request).await?;
        if let Needs::To(permission) = rpc.needs {
            caller.asks(permission).map_err(|error| self.refuse(error))?;
        }
        request.extensions.insert(caller);
        Ok(())
    }

    /// On each listener by one proof alone: a token does nothing where certificates are asked for, and the other way round.
    async fn caller(&self, request: &Parts) -> Result<Caller, Status> {
        match self.listener {
            Listener::Admin | Listener::Workers => {
                let peer = request.extensions.get::<Peer>().ok_or_else(no_certificate)?;
                Ok(Caller::new(peer.spiffe.clone()))
            }
            Listener::Tokens => {
                let token = bearer(&request.headers).ok_or_else(no_token)?;
                self.control_plane.token_verify(token).await.map_err(|error| self.refuse(error))
            }
            Listener::Enrollment => Err(no_certificate()),
        }
    }

    fn refuse(&self, error: bailiwick_core::error::UseCaseError) -> Status {
        status::refusal(error, &self.control_plane.parts.regions).into()
    }
}

/// The one token of a request. Of two, nobody could say which counts.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (first, None) = (all.next()?, all.next()) else { return None };
    let (scheme, token) = first.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

pub(crate) fn no_certificate() -> Status {
    Refusal::new(Code::Unauthenticated, "no_certificate", "a client certificate is needed here").into()
}

fn no_token() -> Status {
    let message =
        "a bearer token is needed here: TokenService.IssueToken gives one for a service account's secret";
    Refusal::new(Code::Unauthenticated, "no_token", message).into()
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { guard: self.clone(), inner }
    }
}

/// Services behind a guard.
#[derive(Clone)]
pub(crate) struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let guard = self.guard.clone();
        // The one that is ready goes with the call; its copy has yet to become so.
        let copy = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, copy);
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            match guard.admit(&mut head).await {
                Ok(()) => inner.call(Request::from_parts(head, body)).await,
                Err(refused) => Ok(refused.into_http()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use bailiwick_proto::status::reason_of;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().expect("a header's value"));
        }
        headers
    }

    #[test]
    fn a_request_carries_one_bearer_token_or_none() {
        assert_eq!(bearer(&headers(&["Bearer abc"])), Some("abc"));
        assert_eq!(bearer(&headers(&["bearer abc"])), Some("abc"));
        for wrong in [&[][..], &["abc"], &["Basic abc"], &["Bearer"], &["Bearer "], &["Bearer a", "Bearer b"]]
        {
            assert_eq!(bearer(&headers(wrong)), None, "{wrong:?}");
        }
    }

    #[test]
    fn who_lacks_a_proof_is_told_which() {
        assert_eq!(reason_of(&no_certificate()).as_deref(), Some("no_certificate"));
        assert_eq!(reason_of(&no_token()).as_deref(), Some("no_token"));
    }
}
