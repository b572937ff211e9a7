//! What goes over the wire, byte by byte.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::UNIX_EPOCH;

use bailiwick_domain::time::{Clock as _, SystemClock};
use futures_util::FutureExt as _;
use http::{HeaderValue, StatusCode, header};
use http_body::{Body, SizeHint};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::*;

/// Pieces that it has at once, and what it says of their length.
struct Pieces {
    pieces: Vec<Bytes>,
    said: Option<u64>,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.pieces.is_empty() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(self.pieces.remove(0)))))
    }

    fn size_hint(&self) -> SizeHint {
        self.said.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Answers every request with these pieces.
fn answering(said: Option<u64>, pieces: &[&[u8]]) -> Server {
    let pieces: Vec<Bytes> = pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect();
    serve_by(HttpLimits::default(), move || {
        let pieces = pieces.clone();
        By(move |_request| {
            let pieces = pieces.clone();
            async move { Response::new(ResponseBody::stream(Pieces { pieces, said })) }.boxed_local()
        })
    })
}

/// Answers every request with this.
fn saying(status: StatusCode, headers: &'static [(&'static str, &'static str)]) -> Server {
    serve_by(HttpLimits::default(), move || {
        By(move |_request| {
            let mut response = Response::new(ResponseBody::from(Bytes::from("body")));
            *response.status_mut() = status;
            for (name, value) in headers {
                response.headers_mut().insert(*name, HeaderValue::from_static(value));
            }
            async { response }.boxed_local()
        })
    })
}

/// What a body in chunks holds, and whether it came to its end.
fn unchunked(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return (body, bytes == b"0\r\n\r\n");
        }
        body.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        assert_eq!(&bytes[end + 2 + size..end + 4 + size], b"\r\n");
        bytes = &bytes[end + 4 + size..];
    }
    (body, false)
}

/// All that a caller hears, as bytes: the head, and what is behind it.
async fn hears(mut caller: Caller) -> (String, Vec<u8>) {
    let mut heard = std::mem::take(&mut caller.heard);
    let reading = caller.stream.read_to_end(&mut heard);
    tokio::time::timeout(PATIENCE, reading).await.expect("in time").expect("no reset");
    let end = heard.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    (String::from_utf8(heard[..end].to_vec()).unwrap(), heard[end..].to_vec())
}

const LAST: &str = "GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn a_body_of_any_size_goes_out_as_it_is() {
    let noise = |length: usize| (0..251_u8).cycle().take(length).collect::<Vec<u8>>();
    let lengths: [&[usize]; 7] =
        [&[], &[1], &[8192], &[8193], &[0, 5, 0, 100_000, 3, 0], &[70_000, 70_000], &[4_000_000]];
    for lengths in lengths {
        let pieces: Vec<Vec<u8>> = lengths.iter().map(|length| noise(*length)).collect();
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let whole = pieces.concat();

        let server = answering(None, &pieces);
        let mut caller = server.dial().await;
        caller.say(LAST).await;
        let (head, body) = hears(caller).await;
        assert!(
            head.contains("transfer-encoding: chunked\r\n") && !head.contains("content-length"),
            "{head}"
        );
        assert!(unchunked(&body) == (whole.clone(), true), "{lengths:?}");

        let server = answering(Some(whole.len() as u64), &pieces);
        let mut caller = server.dial().await;
        caller.say(LAST).await;
        let (head, body) = hears(caller).await;
        assert!(head.contains(&format!("content-length: {}\r\n", whole.len())), "{head}");
        assert!(!head.contains("transfer-encoding") && body == whole, "{lengths:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_it_said_is_cut() {
    for (said, pieces) in [(5, ["abc", "d"]), (3, ["ab", "cd"])] {
        let server = answering(Some(said), &pieces.map(str::as_bytes));
        let mut caller = server.dial().await;
        caller.get("/").await;
        caller.get("/").await;
        let (head, body) = hears(caller).await;
        assert!(head.contains(&format!("content-length: {said}\r\n")), "{head}");
        // What came before, no more than was said, and no answer to what came behind.
        let before = pieces.concat().into_bytes();
        assert_eq!(body, if said == 5 { &before[..] } else { b"ab" });
    }
}

#[tokio::test]
async fn answers_without_a_body_say_so() {
    let server = serve_by(HttpLimits::default(), || {
        By(|request: IncomingRequest<RequestBody>| {
            async move {
                let mut response = Response::new(ResponseBody::from(Bytes::from("body")));
                *response.status_mut() = request.uri().path().trim_start_matches('/').parse().unwrap();
                response
            }
            .boxed_local()
        })
    });
    let mut caller = server.dial().await;
    for status in [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED] {
        caller.get(&format!("/{}", status.as_str())).await;
        let answer = caller.hears("\r\n\r\n").await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}\r\n")) && answer.ends_with("\r\n\r\n"),
            "{answer}"
        );
        assert!(!answer.contains("content-length") && !answer.contains("transfer-encoding"), "{answer}");
    }
    caller.say("HEAD /200 HTTP/1.1\r\nhost: here\r\n\r\n").await;
    let answer = caller.hears("\r\n\r\n").await;
    assert!(answer.contains("content-length: 4\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    caller.get("/299").await;
    assert!(caller.hears("body").await.starts_with("HTTP/1.1 299 \r\n"));
}

#[tokio::test]
async fn what_a_service_says_of_the_connection_is_said_once_and_meant() {
    let said = &[("connection", "close"), ("content-length", "9"), ("transfer-encoding", "chunked")];
    let server = saying(StatusCode::OK, said);
    let mut caller = server.dial().await;
    caller.get("/").await;
    let (head, body) = hears(caller).await;
    assert_eq!(head.matches("connection: close\r\n").count(), 1, "{head}");
    assert!(head.contains("content-length: 4\r\n") && !head.contains("transfer-encoding"), "{head}");
    assert_eq!(body, b"body");
    let date = head.lines().find_map(|line| line.strip_prefix("date: ")).expect("a date");
    let date = httpdate::parse_http_date(date).unwrap().duration_since(UNIX_EPOCH).unwrap();
    let now = Duration::from_micros(SystemClock.now().as_micros().unsigned_abs());
    assert!(now - date < Duration::from_secs(60), "{date:?}");
}

#[tokio::test]
async fn old_callers_are_answered_as_they_understand_it() {
    let server = serve(HttpLimits::default());
    // Also who asks for more gets no more where the connection's end is the answer's.
    for fields in ["", "connection: keep-alive\r\n"] {
        let mut caller = server.dial().await;
        caller.say(&format!("GET /slow HTTP/1.0\r\n{fields}\r\n")).await;
        let (head, body) = hears(caller).await;
        assert!(!head.contains("transfer-encoding") && !head.contains("content-length"), "{head}");
        assert!(head.contains("connection: close\r\n") && body.ends_with(b"chunk 9\n"), "{head}");
    }

    let mut caller = server.dial().await;
    caller.say("POST / HTTP/1.0\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi").await;
    assert!(caller.hears("read 2").await.contains("connection: keep-alive\r\n"));
    caller.say("POST / HTTP/1.0\r\ncontent-length: 3\r\n\r\nhey").await;
    assert!(hears(caller).await.1 == b"read 3");
}

#[tokio::test]
async fn a_caller_that_asks_first_is_told_to_send_its_body_when_it_is_wanted() {
    let server = serve(HttpLimits::default());
    let head = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
    };
    let mut caller = server.dial().await;
    for _again in 0..2 {
        caller.say(&head("/")).await;
        assert_eq!(caller.hears("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
        caller.say("hello").await;
        assert!(caller.hears("read 5").await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
    // It was sent unasked.
    caller.say(&(head("/") + "hello")).await;
    assert!(caller.hears("read 5").await.starts_with("HTTP/1.1 200 OK\r\n"));
    // The answer has begun: it says enough.
    caller.say(&head("/echo")).await;
    assert!(caller.hears("HTTP/1.1 200 OK\r\n").await.starts_with("HTTP/1.1 200 OK\r\n"));
    caller.say("hello").await;
    assert!(!caller.hears("hello").await.contains("100 Continue"));
    // Nobody wants it: the caller may send it, or not.
    caller.say(&head("/refuse")).await;
    let (head, _body) = hears(caller).await;
    assert!(head.starts_with("HTTP/1.1 413") && head.contains("connection: close\r\n"), "{head}");
}

#[tokio::test]
async fn bodies_in_chunks_are_read_and_what_follows_is_the_next_request() {
    let server = serve(HttpLimits::default());
    let mut caller = server.dial().await;
    let chunks = "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nx-trailer: z\r\n\r\n";
    caller
        .say(&format!("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunks}{LAST}"))
        .await;
    let (_head, rest) = hears(caller).await;
    let rest = String::from_utf8(rest).unwrap();
    let (first, second) = rest.split_once("HTTP/1.1 200 OK\r\n").unwrap();
    assert_eq!(unchunked(first.as_bytes()), (b"hello world".to_vec(), true));
    assert!(second.ends_with("read 0"), "{second}");

    // What is no chunk is refused with the request that it is in, and nothing behind it is read.
    for bad in ["5\r\nhelloGET / HTTP/1.1\r\n\r\n", "x\r\n\r\n"] {
        let mut caller = server.dial().await;
        caller.say("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
        caller.say(bad).await;
        let heard = caller.hears_all().await;
        assert_eq!(heard.matches("HTTP/1.1 ").count(), 1, "{heard}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_fails_and_its_caller_hears_the_answer() {
    let server = serve_by(HttpLimits::default(), || {
        By(|request: IncomingRequest<RequestBody>| {
            async {
                Response::new(
                    Bytes::from(format!("{:?}", request.into_body().collect().await.is_err())).into(),
                )
            }
            .boxed_local()
        })
    });
    for framing in ["content-length: 10\r\n\r\nhello", "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
        let mut caller = server.dial().await;
        caller.say(&format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}")).await;
        caller.stream.shutdown().await.unwrap();
        let (head, body) = hears(caller).await;
        assert!(head.contains("connection: close\r\n"), "{head}");
        assert_eq!(body, b"true");
    }
}

#[tokio::test]
async fn what_comes_while_a_call_is_answered_is_the_next_request() {
    let server = serve(HttpLimits::default());
    let mut caller = server.dial().await;
    caller.get("/slow").await;
    caller.hears("chunk 1\n").await;
    caller.say("POST / HTTP/1.1\r\nhost: a\r\ncontent-len").await;
    caller.hears("chunk 4\n").await;
    caller.say("gth: 7\r\n\r\nI am he").await;
    let heard = caller.hears("read 7").await;
    assert!(heard.contains("chunk 9\n"), "{heard}");
}

#[tokio::test]
async fn no_more_is_read_than_the_next_request_begins_with() {
    // However often an answer that goes on looks whether its caller is there.
    let server = serve_by(HttpLimits::default(), || {
        By(|_request| {
            let ticks =
                stream::unfold(tokio::time::interval(Duration::from_millis(1)), |mut ticks| async move {
                    ticks.tick().await;
                    Some((Ok::<_, Infallible>(Frame::data(Bytes::from("tick"))), ticks))
                });
            async { Response::new(ResponseBody::stream(StreamBody::new(Box::pin(ticks)))) }.boxed_local()
        })
    });
    let mut caller = server.dial().await;
    caller.get("/").await;
    let flood = vec![b'x'; 1 << 20];
    let (mut reads, mut writes) = caller.stream.split();
    let floods = async {
        let mut sent = 0;
        loop {
            sent += writes.write(&flood).await.unwrap();
            // Both systems' buffers take some.
            assert!(sent < 32 << 20, "{sent} bytes were taken");
        }
    };
    let answer = async {
        let mut heard = Vec::new();
        while heard.len() < 1000 * "4\r\ntick\r\n".len() {
            assert_ne!(reads.read_buf(&mut heard).await.unwrap(), 0);
        }
    };
    tokio::select! {
        () = floods => {}
        heard = tokio::time::timeout(PATIENCE, answer) => heard.expect("it goes on"),
    }
}

/// A body without an end, which says how much of it was taken, and when it is dropped.
struct Endless(UnboundedSender<Option<usize>>, Bytes);

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.send(Some(self.1.len())).unwrap();
        Poll::Ready(Some(Ok(Frame::data(self.1.clone()))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.send(None).unwrap();
    }
}

#[tokio::test]
async fn no_more_is_taken_of_an_answer_than_its_caller_takes() {
    for piece in [100, 100_000] {
        let (sender, mut events) = unbounded_channel();
        let limits = HttpLimits { write_stall: Duration::from_secs(1), ..HttpLimits::default() };
        let server = serve_by(limits, move || {
            let sender = sender.clone();
            By(move |_request| {
                let body = Endless(sender.clone(), vec![b'x'; piece].into());
                async { Response::new(ResponseBody::stream(body)) }.boxed_local()
            })
        });
        let mut caller = server.dial().await;
        caller.get("/").await;
        let mut taken = 0;
        let ends = async {
            while let Some(bytes) = events.recv().await.expect("an event") {
                taken += bytes;
            }
        };
        // It is closed for taking nothing.
        tokio::time::timeout(PATIENCE, ends).await.expect("in time");
        let mut came = Vec::new();
        let _reset = caller.stream.read_to_end(&mut came).await;
        assert!(taken <= came.len() + 32 * 1024 + 2 * piece, "{taken} taken, {} arrived", came.len());
    }
}

#[tokio::test]
async fn a_caller_that_leaves_ends_the_answer_that_it_was_given() {
    let (sender, mut events) = unbounded_channel();
    let server = serve_by(HttpLimits::default(), move || {
        let sender = sender.clone();
        By(move |_request| {
            struct Gone(UnboundedSender<()>);
            impl Drop for Gone {
                fn drop(&mut self) {
                    self.0.send(()).unwrap();
                }
            }
            let gone = Gone(sender.clone());
            let first = stream::once(async { Ok::<_, Infallible>(Frame::data(Bytes::from("first"))) });
            let rest = stream::once(async move {
                let _gone = gone;
                std::future::pending().await
            });
            let body = StreamBody::new(Box::pin(futures_util::StreamExt::chain(first, rest)));
            async { Response::new(ResponseBody::stream(body)) }.boxed_local()
        })
    });
    let mut caller = server.dial().await;
    caller.get("/").await;
    caller.hears("first").await;
    drop(caller);
    tokio::time::timeout(PATIENCE, events.recv()).await.expect("in time").expect("the body was dropped");
}

#[tokio::test]
async fn a_body_that_nobody_read_is_no_request() {
    let server = serve(HttpLimits::default());
    // It has come.
    let mut caller = server.dial().await;
    caller
        .say(&format!("POST /peer HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{LAST}", LAST.len()))
        .await;
    assert!(caller.hears("nobody").await.starts_with("HTTP/1.1 200 OK\r\n"));
    caller.get("/").await;
    caller.hears("read 0").await;
    // It comes later, and is not waited for.
    let mut caller = server.dial().await;
    caller.say(&format!("POST /peer HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", LAST.len())).await;
    caller.hears("nobody").await;
    caller.say(LAST).await;
    assert_eq!(caller.hears_all().await, "");
}

/// Reads the rest of a body beside its answer: at once, or when that was written. Whether it comes, when the answer is whole or breaks off.
async fn rest_of_a_body(reads_at_once: bool, breaks_off: bool) -> Option<bool> {
    let (sender, mut events) = unbounded_channel();
    let server = serve_by(HttpLimits::default(), move || {
        let sender = sender.clone();
        By(move |request: IncomingRequest<RequestBody>| {
            let sender = sender.clone();
            async move {
                let mut body = request.into_body();
                sender.send(body.frame().await.map(|first| first.is_ok())).unwrap();
                let (begins, has_begun) = oneshot::channel();
                let (answered, is_answered) = oneshot::channel();
                drop(tokio::task::spawn_local(async move {
                    let mut next = std::pin::pin!(body.frame());
                    if reads_at_once {
                        assert!(futures_util::poll!(next.as_mut()).is_pending());
                    }
                    begins.send(()).unwrap();
                    if !reads_at_once {
                        is_answered.await.unwrap();
                    }
                    sender.send(next.await.map(|next| next.is_ok())).unwrap();
                }));
                let last = stream::once(async move {
                    has_begun.await.unwrap();
                    let _nobody_waits = answered.send(());
                    if breaks_off { Err("it broke off") } else { Ok(Frame::data(Bytes::from("answered"))) }
                });
                Response::new(ResponseBody::stream(StreamBody::new(Box::pin(last))))
            }
            .boxed_local()
        })
    });
    let mut caller = server.dial().await;
    caller.say("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nfirst").await;
    assert_eq!(events.recv().await, Some(Some(true)));
    if !breaks_off {
        caller.hears("answered").await;
    }
    if !reads_at_once {
        caller.say("other").await;
        caller.hears_all().await;
    }
    tokio::time::timeout(PATIENCE, events.recv()).await.expect("in time").unwrap()
}

#[tokio::test]
async fn a_body_that_outlives_its_answer_is_broken() {
    // Also for who waits for it already, and has to be told; and no part of it is what comes while the connection is closed.
    for (reads_at_once, breaks_off) in [(true, false), (true, true), (false, false)] {
        assert_eq!(rest_of_a_body(reads_at_once, breaks_off).await, Some(false));
    }
}

#[tokio::test]
async fn what_a_service_says_of_the_length_is_kept_to() {
    let server = serve_by(HttpLimits::default(), || {
        By(|request: IncomingRequest<RequestBody>| {
            let said = request.uri().path().trim_start_matches('/').to_owned();
            let body = Pieces { pieces: vec![Bytes::from("body")], said: None };
            async move {
                let mut response = Response::new(ResponseBody::stream(body));
                for length in said.split('+') {
                    response.headers_mut().append(header::CONTENT_LENGTH, length.parse().unwrap());
                }
                response
            }
            .boxed_local()
        })
    });
    for (path, expected) in [
        ("/4", "content-length: 4\r\n\r\nbody"),
        // It breaks where it is not what was said.
        ("/5", "content-length: 5\r\n\r\nbody"),
        ("/3", "content-length: 3\r\n\r\n"),
        ("/x", "transfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"),
        ("/4+4", "transfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"),
    ] {
        let mut caller = server.dial().await;
        caller.say(&format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await;
        let (head, body) = hears(caller).await;
        let (framing, data) = expected.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(framing), "{path}: {head}");
        assert_eq!(String::from_utf8(body).unwrap(), data, "{path}");
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_and_breaks_off_resets_it() {
    let server = serve(HttpLimits::default());
    let mut caller = server.dial().await;
    caller.say("GET /broken HTTP/1.0\r\n\r\n").await;
    let mut heard = Vec::new();
    let read = tokio::time::timeout(PATIENCE, caller.stream.read_to_end(&mut heard)).await.expect("in time");
    assert_eq!(read.expect_err("half of it is no answer").kind(), std::io::ErrorKind::ConnectionReset);
    // A whole one ends in order.
    let mut caller = server.dial().await;
    caller.say("GET /slow HTTP/1.0\r\n\r\n").await;
    assert!(caller.hears_all().await.ends_with("chunk 9\n"));
}

#[tokio::test]
async fn an_interim_status_is_no_answer() {
    let server = saying(StatusCode::SWITCHING_PROTOCOLS, &[]);
    let mut caller = server.dial().await;
    caller.get("/").await;
    assert!(caller.hears("}}").await.starts_with("HTTP/1.1 500 "));
}

#[tokio::test]
async fn a_caller_that_sent_more_than_its_request_reads_the_answer_that_closes() {
    let server = saying(StatusCode::OK, &[("connection", "x, Close")]);
    let mut caller = server.dial().await;
    caller.say("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi").await;
    let first = caller.hears("body").await;
    assert!(first.starts_with("HTTP/1.1 200 OK\r\n") && first.contains("connection: close\r\n"), "{first}");
    // Far more than anybody holds, behind an answer that was the last.
    for _mebibyte in 0..24 {
        caller.stream.write_all(&vec![b'x'; 1 << 20]).await.expect("nobody resets the connection");
    }
    assert_eq!(caller.hears_all().await, "");
}

/// Reads the body in a task of its own, and never answers.
fn reading_beside(events: UnboundedSender<&'static str>) -> Server {
    serve_by(HttpLimits::default(), move || {
        let events = events.clone();
        By(move |request: IncomingRequest<RequestBody>| {
            struct Gone(UnboundedSender<&'static str>);
            impl Drop for Gone {
                fn drop(&mut self) {
                    self.0.send("left").unwrap();
                }
            }
            let (gone, events) = (Gone(events.clone()), events.clone());
            drop(tokio::task::spawn_local(async move {
                events.send("reads").unwrap();
                let whole = request.into_body().collect().await.is_ok();
                events.send(if whole { "whole" } else { "broken" }).unwrap();
            }));
            async move {
                let _gone = gone;
                std::future::pending().await
            }
            .boxed_local()
        })
    })
}

#[tokio::test]
async fn a_caller_that_leaves_is_noticed_whoever_read_its_body() {
    let (sender, mut events) = unbounded_channel();
    let server = reading_beside(sender);
    let mut next = async || tokio::time::timeout(PATIENCE, events.recv()).await.expect("in time");
    let mut caller = server.dial().await;
    caller.say("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello").await;
    assert_eq!(next().await, Some("reads"));
    caller.say("hello").await;
    assert_eq!(next().await, Some("whole"));
    drop(caller);
    assert_eq!(next().await, Some("left"));
}
