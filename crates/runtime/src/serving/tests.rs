//! Servers on loopback, and callers that misbehave byte by byte.

mod drain;
mod limits;
mod messages;
mod prefaces;
mod public;
mod requests;
mod tls;

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use futures_util::stream;
use http::{HeaderName, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::drain::{Signal, channel};

/// How long a test waits before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

const SAID: HeaderName = HeaderName::from_static("x-said");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Does what a function does.
struct By<F>(F);

impl<F> Service for By<F>
where
    F: Fn(IncomingRequest<RequestBody>) -> LocalBoxFuture<'static, Response<ResponseBody>> + 'static,
{
    async fn call(
        &self,
        request: &mut IncomingRequest<RequestBody>,
        _connection: &ConnectionInfo,
        _told: &mut Fields,
    ) -> Response<ResponseBody> {
        (self.0)(std::mem::take(request)).await
    }
}

/// Does what the path says.
struct Echo;

impl Service for Echo {
    async fn call(
        &self,
        request: &mut IncomingRequest<RequestBody>,
        connection: &ConnectionInfo,
        told: &mut Fields,
    ) -> Response<ResponseBody> {
        match request.uri().path() {
            "/panic" => {
                told.put(&SAID, b"before it panicked");
                panic!("a prompt that nobody may read")
            }
            "/told" => {
                told.put(&SAID, b"ours");
                told.add(&SERVER_TIMING, b"ours");
                let mut response = Response::default();
                for name in [SAID, SERVER_TIMING] {
                    response.headers_mut().insert(name, HeaderValue::from_static("theirs"));
                }
                response
            }
            "/refuse" => {
                ApiError::new(http::StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", "Too large.")
                    .into_response(RequestId::random())
            }
            "/echo" => Response::new(ResponseBody::stream(std::mem::take(request.body_mut()))),
            "/peer" => {
                let peer =
                    connection.peer.as_ref().map_or("nobody".to_owned(), |peer| peer.spiffe.to_string());
                Response::new(Bytes::from(peer).into())
            }
            "/client" => {
                let client =
                    connection.announced.map_or("nobody".to_owned(), |announced| announced.to_string());
                Response::new(Bytes::from(client).into())
            }
            "/hang" => std::future::pending().await,
            "/slow" => Response::new(slow()),
            "/broken" => {
                let broken = stream::iter([Ok(Frame::data(Bytes::from("half"))), Err("provider left")]);
                Response::new(ResponseBody::stream(StreamBody::new(broken)))
            }
            _ => {
                let body = std::mem::take(request.body_mut());
                let length = body.collect().await.map_or(0, |body| body.to_bytes().len());
                Response::new(Bytes::from(format!("read {length}")).into())
            }
        }
    }
}

/// A stream that takes half a second.
fn slow() -> ResponseBody {
    let chunks = stream::unfold(0, |number| async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let chunk = Frame::data(Bytes::from(format!("chunk {number}\n")));
        (number < 10).then_some((Ok::<_, Infallible>(chunk), number + 1))
    });
    ResponseBody::stream(StreamBody::new(Box::pin(chunks)))
}

/// A server, and the means to end it.
struct Server {
    address: SocketAddr,
    signal: Signal,
    serving: Serving,
}

fn serve(limits: HttpLimits) -> Server {
    serve_by(limits, || Echo)
}

fn serve_by<S: Service>(limits: HttpLimits, service: impl Fn() -> S + Send + Sync + 'static) -> Server {
    let (signal, watch) = channel();
    let listen =
        Listen { address: "127.0.0.1:0".parse().unwrap(), transport: Transport::Plain, preface_from: None };
    let serving = serve_per_core(vec![listen], 1, limits, watch, move |_core| service()).unwrap();
    Server { address: serving.addresses()[0], signal, serving }
}

impl Server {
    async fn dial(&self) -> Caller {
        Caller { stream: TcpStream::connect(self.address).await.unwrap(), heard: Vec::new() }
    }
}

/// A caller that writes and reads raw bytes.
struct Caller {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Caller {
    async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    async fn get(&mut self, path: &str) {
        self.say(&format!("GET {path} HTTP/1.1\r\nhost: here\r\n\r\n")).await;
    }

    /// What came, once it contains `expected`.
    async fn hears(&mut self, expected: &str) -> String {
        let reading = async {
            loop {
                let heard = String::from_utf8_lossy(&self.heard).into_owned();
                if heard.contains(expected) {
                    self.heard.clear();
                    return heard;
                }
                let read = self.stream.read_buf(&mut self.heard).await.unwrap();
                assert!(read > 0, "closed before {expected:?} came: {heard}");
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("in time")
    }

    /// What came until the other side closed in order; a reset fails.
    async fn hears_all(mut self) -> String {
        let reading = self.stream.read_to_end(&mut self.heard);
        tokio::time::timeout(PATIENCE, reading).await.expect("in time").expect("no reset");
        String::from_utf8_lossy(&self.heard).into_owned()
    }
}

/// The `error` of an OpenAI-shaped answer.
fn error_of(answer: &str) -> serde_json::Value {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.contains("content-type: application/json"), "{answer}");
    assert!(head.contains("x-bailiwick-request-id: req_") && head.contains("x-request-id: req_"), "{answer}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
    let mut json: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let id = json["error"]["request_id"].as_str().expect("an id").to_owned();
    assert!(head.contains(&id));
    json["error"].take()
}
