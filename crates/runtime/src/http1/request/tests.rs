use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt as _;

use super::*;

const LIMITS: HeadLimits = HeadLimits { bytes: 16 << 10, fields: 100 };

/// A request, as far as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    method: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    is_whole: bool,
}

fn seen(method: &Method, uri: &Uri, headers: &http::HeaderMap) -> Seen {
    let mut headers: Vec<_> =
        headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    // Those of one name stay in their order.
    headers.sort_by(|(one, _), (other, _)| one.cmp(other));
    let (method, target) = (method.to_string(), uri.to_string());
    Seen { method, target, headers, body: Vec::new(), is_whole: false }
}

/// The requests in what comes in pieces of this size, up to the one that is refused.
fn read(bytes: &[u8], size: usize) -> (Vec<Seen>, Option<Refused>) {
    read_pieces(bytes.chunks(size.max(1)), LIMITS)
}

fn read_pieces<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    limits: HeadLimits,
) -> (Vec<Seen>, Option<Refused>) {
    let (mut reader, mut requests) = (RequestReader::new(limits), Vec::<Seen>::new());
    // Each takes the place of the one before, and nothing of that stays.
    let mut request = IncomingRequest::<()>::default();
    for piece in pieces {
        let mut came = piece;
        if let Some(present) = requests.last_mut().filter(|last| !last.is_whole) {
            match reader.take_body(came) {
                Ok(data) => present.body.extend_from_slice(&data),
                Err(Malformed) => return (requests, Some(Refused::Malformed)),
            }
            present.is_whole = reader.is_over();
            if !present.is_whole || !reader.holds_more() {
                continue;
            }
            came = &[];
        }
        loop {
            let received = match reader.take_head(came, &mut request) {
                Ok(received) => received,
                Err(refused) => return (requests, Some(refused)),
            };
            let Some(received) = received else { break };
            let body = received.first.to_vec();
            requests.push(Seen {
                body,
                is_whole: reader.is_over(),
                ..seen(request.method(), request.uri(), &request.headers().to_map())
            });
            if !reader.is_over() || !reader.holds_more() || !received.keeps {
                break;
            }
            came = &[];
        }
    }
    (requests, None)
}

/// What hyper makes of the same bytes.
async fn read_by_hyper(bytes: &[u8]) -> Vec<Seen> {
    let (mut caller, server) = tokio::io::duplex(1 << 20);
    caller.write_all(bytes).await.unwrap();
    caller.shutdown().await.unwrap();
    let requests = Rc::new(RefCell::new(Vec::new()));
    let heard = Rc::clone(&requests);
    let service = service_fn(move |request: http::Request<Incoming>| {
        let heard = Rc::clone(&heard);
        async move {
            let (head, mut body) = request.into_parts();
            let place = heard.borrow().len();
            heard.borrow_mut().push(seen(&head.method, &head.uri, &head.headers));
            let mut is_whole = true;
            while let Some(frame) = body.frame().await {
                match frame.map(http_body::Frame::into_data) {
                    Ok(data) => heard.borrow_mut()[place].body.extend(data.unwrap_or_default()),
                    Err(_broken) => is_whole = false,
                }
            }
            heard.borrow_mut()[place].is_whole = is_whole;
            Ok::<_, Infallible>(http::Response::new(Empty::<Bytes>::new()))
        }
    });
    let _how_it_ended =
        http1::Builder::new().half_close(true).serve_connection(TokioIo::new(server), service).await;
    drop(caller);
    requests.take()
}

/// A request as callers write it.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("POST /v1/chat/completions HTTP/1.1"),
        Just("GET /v1/models?limit=2 HTTP/1.1"),
        Just("POST http://here/v1/x HTTP/1.1"),
        Just("OPTIONS * HTTP/1.1"),
        Just("M-SEARCH / HTTP/1.1"),
    ];
    let field = prop_oneof![
        Just("Accept: */*\r\n"),
        Just("x-a:b\r\n"),
        Just("X-A:  c \t\r\n"),
        Just("content-type: application/json\r\n"),
        Just("connection: keep-alive\r\n"),
        Just("x-bytes: \u{fc}\r\n"),
        Just("x-empty:\r\n"),
    ];
    let blank = prop_oneof![8 => Just(""), 1 => Just("\r\n"), 1 => Just("\r\n\r\n")];
    let chunks = vec("[a-z{}\"\r\n ]{1,40}", 0..4);
    (blank, line, vec(field, 0..5), chunks, 0..3_u8, any::<bool>()).prop_map(
        |(blank, line, fields, chunks, framing, has_trailer)| {
            let whole = chunks.concat();
            let body = match framing {
                0 => format!("content-length: {}\r\n\r\n{whole}", whole.len()),
                1 => {
                    let chunks = chunks.iter().map(|chunk| format!("{:X}\r\n{chunk}\r\n", chunk.len()));
                    let trailer = if has_trailer { "x-t: u\r\n" } else { "" };
                    let chunks = chunks.collect::<String>();
                    format!("Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n{trailer}\r\n")
                }
                _ => "\r\n".to_owned(),
            };
            format!("{blank}{line}\r\nHost: here\r\n{}{body}", fields.concat()).into_bytes()
        },
    )
}

proptest! {
    #[test]
    fn requests_are_read_as_hyper_reads_them(requests in vec(request(), 1..4), cut in any::<prop::sample::Index>(), size in 1..200_usize) {
        let bytes = requests.concat();
        let end = if cut.index(3) == 0 { cut.index(bytes.len() + 1) } else { bytes.len() };
        let bytes = &bytes[..end];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (ours, refused) = read(bytes, size);
        prop_assert_eq!(refused, None);
        prop_assert_eq!(ours, runtime.block_on(read_by_hyper(bytes)));
    }

    #[test]
    fn pieces_make_no_difference(requests in vec(request(), 1..4), noise in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3), size in 1..50_usize) {
        let mut bytes = requests.concat();
        for (at, byte) in noise {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let ((whole, refused), (pieces, also_refused)) = (read(&bytes, usize::MAX), read(&bytes, size));
        // What is no head is known for sure only at its end, and to who sees more of it at once, maybe before.
        prop_assert!(refused.is_some() || also_refused.is_none());
        if refused.is_none() {
            prop_assert_eq!(whole, pieces);
        } else {
            // A body that is bad further on is refused there, and with its head where that came with it.
            let same = pieces.iter().zip(&whole).take_while(|(one, other)| one == other).count();
            prop_assert!(whole.len() - same <= 1 && whole[same..].iter().all(|request| !request.is_whole));
            prop_assert!(pieces.len() - same <= 1 && pieces[same..].iter().all(|request| !request.is_whole));
        }
    }
}

#[test]
fn many_requests_that_come_at_once_are_taken_one_by_one() {
    let bytes = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nxGET / HTTP/1.1\r\nhost: a\r\n\r\n"
        .repeat(1000);
    let (requests, refused) = read(&bytes, usize::MAX);
    assert_eq!((requests.len(), refused), (2000, None));
    assert!(requests.chunks(2).all(|two| two[0].body == b"x" && two[1].method == "GET"));
}

#[test]
fn nothing_of_the_request_before_stays() {
    let before = http::Request::post("http://before/now").header("before", "1").body(()).unwrap();
    let mut request = IncomingRequest::from(before);
    let bytes = b"GET /now HTTP/1.0\r\nnow: 1\r\n\r\n";
    RequestReader::new(LIMITS).take_head(bytes, &mut request).unwrap().unwrap();
    assert_eq!((request.method(), request.uri().to_string()), (&Method::GET, "/now".to_owned()));
    assert_eq!((request.version(), request.headers().len()), (Version::HTTP_10, 1));
    assert!(request.headers().contains(&http::HeaderName::from_static("now")));
}

#[test]
fn a_target_that_is_the_same_is_the_same_and_none_is_taken_for_another() {
    let mut request = IncomingRequest::<()>::default();
    let targets = ["/a", "/a", "/a?b", "/a", "http://there/a", "/a", "*", "there:80", "/a#b", "/", "/A"];
    for target in targets {
        let bytes = format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n");
        RequestReader::new(LIMITS).take_head(bytes.as_bytes(), &mut request).unwrap().unwrap();
        assert_eq!(*request.uri(), target.parse::<Uri>().unwrap(), "{target}");
        request.let_go();
        assert!(request.headers().is_empty());
    }
}

#[test]
fn of_a_request_that_is_let_go_nothing_stays_but_a_short_path() {
    let long = format!("/{}", "a".repeat(LONGEST_KEPT_PATH));
    for (target, kept) in [("/now", "/now"), (&*long, "/"), ("http://there/now", "/"), ("/now?key=x", "/")] {
        let head = http::Request::put(target).version(Version::HTTP_10).header("now", "1");
        let mut request = IncomingRequest::from(head.body("said").unwrap());
        request.let_go();
        assert_eq!((request.uri().to_string(), request.method()), (kept.to_owned(), &Method::GET));
        assert!(request.headers().is_empty() && request.body().is_empty());
    }
}

/// What one request's fields make of its body: its length, and whether another may follow.
fn framed(line: &str, fields: &str) -> Result<(Option<u64>, bool), Refused> {
    let bytes = format!("{line}\r\nhost: a\r\n{fields}\r\n");
    let received = RequestReader::new(LIMITS)
        .take_head(bytes.as_bytes(), &mut IncomingRequest::<()>::default())?
        .unwrap();
    Ok((received.length, received.keeps))
}

#[test]
fn a_body_ends_where_rfc_9112_says_and_what_is_said_twice_is_refused() {
    let (new, old) = ("POST / HTTP/1.1", "POST / HTTP/1.0");
    let cases = [
        (new, "", Ok((Some(0), true))),
        (new, "content-length: 7\r\n", Ok((Some(7), true))),
        (new, "content-length: 7\r\nconnection: x, Close\r\n", Ok((Some(7), false))),
        (new, "transfer-encoding: Chunked \r\n", Ok((None, true))),
        (old, "", Ok((Some(0), false))),
        (old, "content-length: 7\r\nconnection: Keep-Alive\r\n", Ok((Some(7), true))),
        (old, "connection: keep-alive, close\r\n", Ok((Some(0), false))),
    ];
    for (line, fields, expected) in cases {
        assert_eq!(framed(line, fields), expected, "{line} {fields}");
    }
    let refused = [
        (new, "content-length: 7\r\ntransfer-encoding: chunked\r\n"),
        (new, "transfer-encoding: chunked\r\ncontent-length: 7\r\n"),
        (new, "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"),
        (new, "transfer-encoding: chunked, chunked\r\n"),
        (new, "transfer-encoding: gzip, chunked\r\n"),
        (new, "transfer-encoding: identity\r\n"),
        (new, "transfer-encoding:\x0bchunked\r\n"),
        (new, "transfer-encoding : chunked\r\n"),
        (new, "content-length: 7\r\ncontent-length: 7\r\n"),
        (new, "content-length: 7\r\ncontent-length: 8\r\n"),
        (new, "content-length: 7, 7\r\n"),
        (new, "content-length: +7\r\n"),
        (new, "content-length: -7\r\n"),
        (new, "content-length: 0x7\r\n"),
        (new, "content-length: 7 7\r\n"),
        (new, "content-length:\r\n"),
        (new, "content-length: 18446744073709551616\r\n"),
        (new, "x: y\r\n content-length: 7\r\n"),
        (new, "x\0: y\r\n"),
        (new, "x: y\rz: 1\r\n"),
        (new, "x: y\ncontent-length: 7\r\n"),
        (new, "x: y\n"),
        (new, "\n"),
        (new, "host: a\r\n"),
        (old, "transfer-encoding: chunked\r\n"),
        ("POST /  HTTP/1.1", ""),
        ("POST / HTTP/2.0", ""),
        ("POST /", ""),
        ("POST / HTTP/1.1\nx: y", ""),
        ("\nPOST / HTTP/1.1", ""),
        ("\r\n\nPOST / HTTP/1.1", ""),
        ("POST / HTTP/1.1\n", ""),
        ("PO\0ST / HTTP/1.1", ""),
        ("POST /\u{7f} HTTP/1.1", ""),
        ("PRI * HTTP/2.0", ""),
    ];
    for (line, fields) in refused {
        assert_eq!(framed(line, fields), Err(Refused::Malformed), "{line} {fields}");
    }
}

#[test]
fn whoever_speaks_http_1_1_names_a_host() {
    let read = |head: &str| read(head.as_bytes(), usize::MAX);
    for without in ["GET / HTTP/1.1\r\n\r\n", "GET http://here/ HTTP/1.1\r\nx-host: a\r\n\r\n"] {
        assert_eq!(read(without), (Vec::new(), Some(Refused::Malformed)), "{without}");
    }
    for good in ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHOST:\r\n\r\n"] {
        let (requests, refused) = read(good);
        assert_eq!((requests.len(), refused), (1, None), "{good}");
    }
}

#[test]
fn only_who_waits_for_it_is_told_to_go_on() {
    for (head, expects) in [
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\nexpect: 100-Continue\r\n\r\n", true),
        ("POST / HTTP/1.0\r\ncontent-length: 1\r\nexpect: 100-continue\r\n\r\n", false),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\nexpect: 102-x\r\n\r\n", false),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n", false),
    ] {
        let received = RequestReader::new(LIMITS)
            .take_head(head.as_bytes(), &mut IncomingRequest::<()>::default())
            .unwrap();
        assert_eq!(received.unwrap().expects_continue, expects, "{head}");
    }
}

#[test]
fn a_head_is_bounded_however_it_comes() {
    let head = |length: usize| {
        let start = "GET / HTTP/1.1\r\nhost: a\r\nx: ";
        format!("{start}{}\r\n\r\n", "y".repeat(length - start.len() - 4))
    };
    for size in [1, 100, usize::MAX] {
        let read = |bytes: &str| read_pieces(bytes.as_bytes().chunks(size), LIMITS);
        // Another behind it takes nothing of its room, nor do empty lines before it.
        let good = "\r\n\r\n".to_owned() + &head(LIMITS.bytes).repeat(2);
        assert_eq!((read(&good).0.len(), read(&good).1), (2, None), "{size}");
        assert_eq!(read(&head(LIMITS.bytes + 1)).1, Some(Refused::TooLarge), "{size}");
        assert_eq!(
            read(&format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(LIMITS.bytes))).1,
            Some(Refused::TooLarge)
        );
        // What is no head is none, however much comes behind it.
        assert_eq!(read(&format!("\n\n{}", head(LIMITS.bytes))).1, Some(Refused::Malformed), "{size}");
    }
    for fields in [1, 2, FIELDS_IN_PLACE, FIELDS_IN_PLACE + 1] {
        let limits = HeadLimits { fields, ..LIMITS };
        let head =
            |number: usize| format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: 1\r\n".repeat(number - 1));
        let read = |number: usize| read_pieces([head(number).as_bytes()].into_iter(), limits).1;
        assert_eq!((read(fields), read(fields + 1)), (None, Some(Refused::TooLarge)), "{fields}");
    }
    let long = |length: usize| format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(length - 1));
    let limits = HeadLimits { bytes: 128 << 10, ..LIMITS };
    let read = |length: usize| read_pieces([long(length).as_bytes()].into_iter(), limits).1;
    assert_eq!((read(LONGEST_TARGET), read(LONGEST_TARGET + 1)), (None, Some(Refused::TargetTooLong)));
}

#[test]
fn who_speaks_something_else_hears_of_it_at_once() {
    for bytes in [
        "\x16\x03\x01\x02",
        "SSH-2.0-OpenSSH\r\n",
        "GET / HTTP/1.1\r\nbad field\r\n",
        "\r\rGET /",
        "\nGET /",
        "\r\n\n",
    ] {
        assert_eq!(read(bytes.as_bytes(), usize::MAX).1, Some(Refused::Malformed), "{bytes:?}");
    }
    for bytes in ["", "\r", "\r\n\r\n", "G", "GET / HTTP/1.1\r\nx: y", "GET / HTTP/1.1\r\n"] {
        assert_eq!(read(bytes.as_bytes(), usize::MAX), (Vec::new(), None), "{bytes:?}");
    }
}
