mod heads;

use futures_util::StreamExt as _;
use http::{HeaderMap, Request};
use http_body_util::{BodyStream, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use proptest::{collection::vec, prelude::*};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// What an answer was read as: its status, its headers, its body, and whether that came to its end.
type Seen = Option<(u16, Vec<(String, String)>, Vec<u8>, bool)>;

fn sorted(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut all: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    all.sort();
    all
}

/// By what is tested here. The connection is closed behind the bytes.
fn read(bytes: &[u8], size: usize) -> Seen {
    let (mut reader, mut begun, mut body) = (ResponseReader::new(false), None, Vec::new());
    for piece in bytes.chunks(size) {
        if begun.is_none() {
            let Some(Begun { response, first, .. }) = reader.take_head(piece).ok()? else {
                continue;
            };
            body.extend_from_slice(&first);
            begun = Some(response);
        } else if !reader.is_over() {
            match reader.take_body(piece) {
                Ok(data) => body.extend_from_slice(&data),
                Err(Malformed) => break,
            }
        }
    }
    let response = begun?;
    let is_whole = reader.is_over() || reader.may_end();
    Some((response.status().as_u16(), sorted(&response.headers().to_map()), body, is_whole))
}

/// By hyper's client.
async fn read_by_hyper(bytes: &[u8]) -> Seen {
    let (ours, mut provider) = tokio::io::duplex(1 << 20);
    let (mut sender, connection) = http1::handshake(TokioIo::new(ours)).await.unwrap();
    let request = sender.send_request(Request::new(Empty::<Bytes>::new()));
    let answers = async {
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            provider.read_buf(&mut asked).await.unwrap();
        }
        let _closed_before = provider.write_all(bytes).await;
        let _closed_before = provider.shutdown().await;
    };
    let reads = async {
        let response = request.await.ok()?;
        let (head, body) = response.into_parts();
        let mut body = BodyStream::new(body);
        let (mut data, mut is_whole) = (Vec::new(), true);
        while let Some(frame) = body.next().await {
            match frame.map(|frame| frame.into_data()) {
                Ok(piece) => data.extend_from_slice(&piece.unwrap_or_default()),
                Err(_broken) => is_whole = false,
            }
        }
        Some((head.status.as_u16(), sorted(&head.headers), data, is_whole))
    };
    let (seen, (), _ended) = tokio::join!(reads, answers, connection);
    seen
}

/// Answers as providers write them, and what may happen to them.
fn answers() -> impl Strategy<Value = Vec<u8>> {
    let status = prop_oneof![Just("200 OK"), Just("204 No Content"), Just("429 Slow"), Just("500 X")];
    let header = prop_oneof![
        Just("x-a: b\r\n"),
        Just("X-A:c\r\n"),
        Just("content-type: text/event-stream\r\n"),
        Just("connection: close\r\n"),
        Just("connection: keep-alive\r\n"),
    ];
    let before = prop_oneof![
        4 => Just(""),
        1 => Just("HTTP/1.1 100 Continue\r\n\r\n"),
        1 => Just("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"),
    ];
    let chunks = vec("[a-z{}\"\r\n ]{1,40}", 0..4);
    let framing = 0..4_u8;
    (before, status, vec(header, 0..4), chunks, framing, any::<bool>()).prop_map(
        |(before, status, headers, chunks, framing, has_trailer)| {
            let whole = chunks.concat();
            let body = match framing {
                0 => format!("content-length: {}\r\n\r\n{whole}", whole.len()),
                1 => {
                    let chunks = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len()));
                    let trailer = if has_trailer { "x-t: u\r\n" } else { "" };
                    format!(
                        "transfer-encoding: chunked\r\n\r\n{}0\r\n{trailer}\r\n",
                        chunks.collect::<String>()
                    )
                }
                2 => format!("content-length: {}\r\n\r\n{whole}", whole.len() + 1),
                _ => format!("\r\n{whole}"),
            };
            format!("{before}HTTP/1.1 {status}\r\n{}{body}", headers.concat()).into_bytes()
        },
    )
}

proptest! {
    #[test]
    fn answers_are_read_as_hyper_reads_them(bytes in answers(), cut in any::<prop::sample::Index>(), size in 1..200_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let end = if cut.index(3) == 0 { cut.index(bytes.len() + 1) } else { bytes.len() };
        let bytes = &bytes[..end];
        prop_assert_eq!(read(bytes, size), runtime.block_on(read_by_hyper(bytes)));
    }

    #[test]
    fn pieces_make_no_difference(bytes in answers(), noise in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3), size in 1..50_usize) {
        let mut bytes = bytes;
        for (at, byte) in noise {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let (whole, pieces) = (read(&bytes, usize::MAX), read(&bytes, size));
        // A body that is bad further on is cut at another place, but it is cut.
        match (whole, pieces) {
            (Some((status, headers, body, false)), Some((other, others, pieces, is_whole))) => {
                prop_assert!(!is_whole && status == other && headers == others);
                prop_assert!(pieces.starts_with(&body));
            }
            // It came with the head, which is nobody's then.
            (None, Some((.., is_whole))) => prop_assert!(!is_whole),
            (whole, pieces) => prop_assert_eq!(whole, pieces),
        }
    }
}

#[test]
fn what_comes_before_an_answer_is_skipped_however_often() {
    let hints = b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n".repeat(5000);
    let bytes = [&*hints, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"].concat();
    for size in [1, 1000, usize::MAX] {
        let (status, headers, body, is_whole) = read(&bytes, size).unwrap();
        assert_eq!((status, &*body, is_whole), (200, &b"{}"[..], true));
        assert_eq!(headers, [("content-length".to_owned(), "2".to_owned())]);
    }
}

#[test]
fn a_head_is_bounded() {
    let head = |length: usize| {
        let start = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx: ";
        format!("{start}{}\r\n\r\n", "y".repeat(length - start.len() - 4)).into_bytes()
    };
    for size in [1, 100, usize::MAX] {
        assert!(read(&head(LARGEST_HEAD), size).is_some());
        assert!(read(&head(LARGEST_HEAD + 1), size).is_none());
    }
    let mut reader = ResponseReader::new(false);
    let endless = vec![b'x'; LARGEST_HEAD + 1];
    assert!(reader.take_head(&endless).is_err());
}

#[test]
fn bytes_behind_an_answer_are_not_taken_for_the_next() {
    let answer: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    for (behind, keeps) in [(&b""[..], true), (b"HTTP/1.1 200 OK\r\n", false), (b"\r\n", false)] {
        let bytes = [answer, behind].concat();
        for size in [bytes.len(), answer.len() - 1] {
            let mut reader = ResponseReader::new(false);
            let (first, rest) = bytes.split_at(size);
            assert!(reader.take_head(first).unwrap().is_some());
            if !rest.is_empty() {
                reader.take_body(rest).unwrap();
            }
            assert_eq!((reader.is_over(), reader.keeps()), (true, keeps));
        }
    }
}
