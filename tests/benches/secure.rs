//! The same provider over TLS and HTTP/2, for what can speak that to it: a stream of a worker's takes no connection of its own then.

use std::{io, time::Duration};

use bailiwick_tests::secure::{self, Body};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{
    Request, Response,
    body::{Frame, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::provider::{IDLE, PACE, PACED, delta, now_nanos};

/// Between two pieces of a stream that is slow.
const SLOW: Duration = Duration::from_secs(2);

/// Serves for as long as it is polled.
pub async fn serve(listener: TcpListener, acceptor: TlsAcceptor, whole: Bytes) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let whole = whole.clone();
        let answer = move |request| answer(request, whole.clone());
        tokio::task::spawn_local(secure::serve(stream, acceptor.clone(), answer));
    }
}

async fn answer(request: Request<Incoming>, whole: Bytes) -> Response<Body> {
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let is = |mark: &str| body.windows(mark.len()).any(|window| window == mark.as_bytes());
    let streams = is("\"stream\":true");
    let (kind, body) = match () {
        () if streams && is(PACED) => ("text/event-stream", paced(PACE)),
        () if streams && is(IDLE) => ("text/event-stream", paced(SLOW)),
        () => ("application/json", Full::new(whole).boxed_unsync()),
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A piece at once, and then one in so much time, for as long as it is read. Each says when it was sent.
fn paced(pace: Duration) -> Body {
    let pieces = stream::unfold(tokio::time::interval(pace), |mut pace| async move {
        pace.tick().await;
        let piece = Bytes::from(delta(&format!("{:020}", now_nanos())));
        Some((Ok(Frame::data(piece)), pace))
    });
    StreamBody::new(pieces.boxed()).boxed_unsync()
}
