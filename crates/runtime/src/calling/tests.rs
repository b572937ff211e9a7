use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use http::{HeaderMap, Method, header};
use http_body_util::BodyExt as _;
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadBuf};
use tokio::sync::mpsc;
use tokio::task::coop;
use tokio::time::timeout;

use super::*;
use crate::http1::{self, HeadLimits, IncomingRequest, IncomingResponse, Received, RequestReader};

/// Bytes that the other end takes before it is read.
const ROOM: usize = 80;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
const SAID: &str = "POST /v1/chat?a=b HTTP/1.1\r\nhost: there\r\ncontent-length: 4\r\n\r\nsaid";
const PATIENCE: Duration = Duration::from_secs(30);

fn lines<S: AsyncRead + AsyncWrite + Unpin + 'static>() -> Lines<S, http1::Body> {
    // A sweep in ten milliseconds: an answer has three, a rest two.
    let lines = Lines::new(Duration::from_millis(30), Duration::from_millis(20));
    assert_eq!((lines.longest_wait, lines.longest_rest), (3, 2));
    lines
}

fn connect() -> (Rc<Line<DuplexStream, http1::Body>>, DuplexStream) {
    let (ours, there) = tokio::io::duplex(ROOM);
    (lines().open(ours), there)
}

fn request(body: impl Into<http1::Body>) -> OutgoingRequest<http1::Body> {
    let mut fields = http1::Fields::default();
    assert!(fields.add(&header::HOST, b"there"));
    let (method, target) = (Method::POST, "/v1/chat?a=b".parse().unwrap());
    OutgoingRequest { method, target, fields, body: body.into() }
}

fn said() -> OutgoingRequest<http1::Body> {
    request(Bytes::from_static(b"said"))
}

/// A body that is still coming.
struct Coming(RefCell<mpsc::UnboundedReceiver<io::Result<Bytes>>>);

impl http1::Line for Coming {
    fn poll_body(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        self.0.borrow_mut().poll_recv(cx).map(Option::transpose)
    }

    fn is_read(&self) -> bool {
        let pieces = self.0.borrow();
        pieces.is_closed() && pieces.is_empty()
    }
}

fn coming(length: Option<u64>) -> (mpsc::UnboundedSender<io::Result<Bytes>>, http1::Body) {
    let (sender, pieces) = mpsc::unbounded_channel();
    (sender, http1::Body::new(Bytes::new(), length, Some(Rc::new(Coming(RefCell::new(pieces))))))
}

async fn heard(there: &mut DuplexStream, length: usize) -> String {
    let mut bytes = vec![0; length];
    there.read_exact(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

async fn heard_to_the_end(there: &mut DuplexStream) -> String {
    let mut bytes = String::new();
    there.read_to_string(&mut bytes).await.unwrap();
    bytes
}

async fn is_pending(polled: Pin<&mut impl Future>) -> bool {
    let mut polled = Some(polled);
    poll_fn(|cx| Poll::Ready(polled.take().is_some_and(|polled| polled.poll(cx).is_pending()))).await
}

async fn whole(answered: Result<IncomingResponse<http1::Body>, Failed>) -> Bytes {
    answered.unwrap().into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn one_call_follows_the_other() {
    let (line, mut there) = connect();
    let answering = async {
        for _ in 0..3 {
            assert_eq!(heard(&mut there, SAID.len()).await, SAID);
            there.write_all(ANSWER).await.unwrap();
        }
    };
    let asking = async {
        for _ in 0..3 {
            assert_eq!(whole(line.call(&mut said()).await).await, "{}");
            assert!(line.rest());
        }
    };
    let ((), ()) = tokio::join!(answering, asking);
}

#[tokio::test]
async fn what_was_said_before_anything_was_asked_is_no_answer() {
    for (before, is_queued) in [(Some(ANSWER), true), (Some(ANSWER), false), (None, true), (None, false)] {
        for is_here in [true, false] {
            let (line, mut there) = connect();
            match before {
                Some(before) => there.write_all(before).await.unwrap(),
                None => there.shutdown().await.unwrap(),
            }
            let (pieces, body) = coming(Some(4));
            pieces.send(Ok("said".into())).unwrap();
            drop(pieces);
            let mut asked = if is_here { said() } else { request(body) };
            line.begin(&mut asked, is_queued, true);
            let failed = poll_fn(|cx| line.poll_answer(&mut asked, cx)).await.err();
            assert_eq!(failed, Some(Failed::Unsent));
            assert_eq!(asked.fields.lines(), b"host: there\r\n", "it is whole");
            assert_eq!(std::mem::take(&mut asked.body).collect().await.unwrap().to_bytes(), "said");
            line.write_queued();
            line.hang_up();
            assert_eq!(heard_to_the_end(&mut there).await, "", "{before:?}");
        }
    }
}

#[tokio::test]
async fn a_line_at_rest_is_hung_up_when_something_comes_or_it_ends_or_rests_for_too_long() {
    let does: [fn(DuplexStream) -> Option<DuplexStream>; 3] = [
        Some,
        |_leaves| None,
        |there| {
            let mut there = there;
            there.write_all(b"x").now_or_never().unwrap().unwrap();
            Some(there)
        },
    ];
    for (what, sweeps) in does.into_iter().zip([3, 1, 1]) {
        let (ours, there) = tokio::io::duplex(ROOM);
        let lines = lines();
        let line = lines.open(ours);
        assert!(line.rest());
        let there = what(there);
        for sweep in 1..=sweeps {
            assert!(!line.is_closed(), "{sweep}");
            lines.sweep_once();
        }
        assert!(line.is_closed());
        if let Some(mut there) = there {
            assert_eq!(heard_to_the_end(&mut there).await, "");
        }
    }
}

#[tokio::test]
async fn who_reads_slowly_gets_all_of_it() {
    let large: &'static str = "x".repeat(100_000).leak();
    for is_here in [true, false] {
        let (line, mut there) = connect();
        let (pieces, body) = coming(Some(100_000));
        for piece in large.as_bytes().chunks(30_000) {
            pieces.send(Ok(Bytes::from_static(piece))).unwrap();
        }
        let mut asked = if is_here { request(Bytes::from(large)) } else { request(body) };
        let asking = async { assert_eq!(whole(line.call(&mut asked).await).await, "{}") };
        let answering = async {
            let head = SAID.replace("length: 4", "length: 100000").replace("said", "");
            assert_eq!(heard(&mut there, head.len()).await, head);
            assert_eq!(heard(&mut there, large.len()).await, large);
            there.write_all(ANSWER).await.unwrap();
        };
        // Each is polled only when it is woken itself.
        let both: FuturesUnordered<LocalBoxFuture<'_, ()>> =
            [asking.boxed_local(), answering.boxed_local()].into_iter().collect();
        timeout(PATIENCE, both.collect::<Vec<()>>()).await.expect("the call is woken to write on");
        assert!(line.rest());
    }
}

#[tokio::test]
async fn pieces_go_out_as_they_come() {
    let (line, mut there) = connect();
    let (pieces, body) = coming(None);
    let mut asked = request(body);
    let answering = async {
        let head = SAID.replace("content-length: 4", "transfer-encoding: chunked").replace("said", "");
        assert_eq!(heard(&mut there, head.len()).await, head);
        for piece in ["a", "bc"] {
            pieces.send(Ok(piece.into())).unwrap();
            let framed = format!("{}\r\n{piece}\r\n", piece.len());
            assert_eq!(heard(&mut there, framed.len()).await, framed);
        }
        drop(pieces);
        assert_eq!(heard(&mut there, 5).await, "0\r\n\r\n");
        there.write_all(ANSWER).await.unwrap();
    };
    let (answered, ()) = tokio::join!(line.call(&mut asked), answering);
    assert_eq!(whole(answered).await, "{}");
    assert!(line.rest());
}

#[tokio::test]
async fn a_body_that_breaks_off_or_is_not_as_long_as_it_said_is_no_whole_one() {
    let breaks = |length, pieces: &[Result<&'static str, ()>]| {
        let (sender, body) = coming(length);
        for piece in pieces {
            let piece = piece.map(Bytes::from).map_err(|()| io::ErrorKind::UnexpectedEof.into());
            sender.send(piece).unwrap();
        }
        body
    };
    let cases = [
        (breaks(Some(4), &[Ok("sa"), Err(())]), "sa"),
        (breaks(None, &[Ok("sa"), Err(())]), "2\r\nsa\r\n"),
        (breaks(Some(4), &[Ok("sa")]), "sa"),
        (breaks(Some(4), &[Ok("saidd")]), ""),
    ];
    for (body, sent) in cases {
        let (line, mut there) = connect();
        let mut asked = request(body);
        let listening = async {
            let mut heard = String::new();
            while !heard.ends_with(&format!("\r\n\r\n{sent}")) {
                heard.push(char::from(there.read_u8().await.unwrap()));
            }
            there
        };
        let both = timeout(PATIENCE, async { tokio::join!(line.call(&mut asked), listening) });
        let (answered, mut there) = both.await.expect("nobody waits for an answer");
        assert_eq!(answered.err(), Some(Failed::Broken));
        assert!(!line.rest());
        line.hang_up();
        assert_eq!(heard_to_the_end(&mut there).await, "");
    }
}

#[tokio::test]
async fn an_answer_that_comes_before_all_was_read_counts_and_is_the_lines_last() {
    for closes in [false, true] {
        let (line, mut there) = connect();
        let mut asked = request(Bytes::from("x".repeat(100_000)));
        let answering = async {
            heard(&mut there, 10).await;
            there.write_all(ANSWER).await.unwrap();
            Some(there).filter(|_| !closes)
        };
        let (answered, _there) = tokio::join!(line.call(&mut asked), answering);
        assert_eq!(whole(answered).await, "{}");
        assert!(!line.rest());
    }
}

#[tokio::test]
async fn who_takes_no_more_and_says_nothing_has_lost_the_call() {
    let (line, mut there) = connect();
    let mut asked = request(Bytes::from("x".repeat(100_000)));
    let leaving = async {
        heard(&mut there, 10).await;
        drop(there);
    };
    let (failed, ()) = tokio::join!(line.call(&mut asked), leaving);
    assert_eq!(failed.err(), Some(Failed::Lost(io::ErrorKind::UnexpectedEof)));
}

#[tokio::test]
async fn what_is_no_answer_is_told_from_none() {
    let (line, mut there) = connect();
    let answering = async {
        heard(&mut there, SAID.len()).await;
        there.write_all(b"SSH-2.0-OpenSSH\r\n\r\n").await.unwrap();
    };
    let mut asked = said();
    let (failed, ()) = tokio::join!(line.call(&mut asked), answering);
    assert_eq!(failed.err(), Some(Failed::Lost(io::ErrorKind::InvalidData)));
}

#[tokio::test]
async fn of_what_comes_before_an_answer_nothing_is_the_answers() {
    let (line, mut there) = connect();
    let answering = async {
        heard(&mut there, SAID.len()).await;
        let early = "HTTP/1.1 103 Early Hints\r\nx-said: early\r\nlink: x\r\n\r\n";
        let answer = format!("{early}HTTP/1.1 200 OK\r\nX-Said: 1\r\ncontent-length: 0\r\n\r\n");
        there.write_all(answer.as_bytes()).await.unwrap();
    };
    let mut asked = said();
    let (answered, ()) = tokio::join!(line.call(&mut asked), answering);
    let answered = answered.unwrap();
    let said: Vec<_> = answered.headers().iter().collect();
    assert_eq!(said, [(&b"X-Said"[..], &b"1"[..]), (b"content-length", b"0")]);
}

#[tokio::test]
async fn nobody_elses_word_ends_the_body() {
    let (line, mut there) = connect();
    let mut asked = said();
    for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION] {
        assert!(!asked.fields.add(&name, b"7"));
        let map = HeaderMap::from_iter([(name, "7".parse().unwrap())]);
        asked.fields.pass_on((&map).into());
    }
    assert!(is_pending(pin!(line.call(&mut asked))).await);
    assert_eq!(heard(&mut there, SAID.len()).await, SAID);
    line.hang_up();
    assert_eq!(heard_to_the_end(&mut there).await, "");
}

#[tokio::test]
async fn a_length_of_nothing_is_told_where_one_is_expected() {
    for (method, says) in
        [(Method::POST, true), (Method::PUT, true), (Method::GET, false), (Method::HEAD, false)]
    {
        let (line, mut there) = connect();
        let mut asked = request(http1::Body::default());
        asked.method = method;
        assert!(is_pending(pin!(line.call(&mut asked))).await);
        line.hang_up();
        assert_eq!(heard_to_the_end(&mut there).await.contains("content-length: 0\r\n"), says);
    }
}

#[tokio::test]
async fn nothing_follows_the_head_that_was_asked_for() {
    let (line, mut there) = connect();
    let mut asked = request(http1::Body::default());
    asked.method = Method::HEAD;
    let answering = there.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n");
    let mut calling = pin!(line.call(&mut asked));
    assert!(is_pending(calling.as_mut()).await);
    let (answered, written) = tokio::join!(calling, answering);
    written.unwrap();
    let answered = answered.unwrap();
    assert_eq!(answered.headers().get(&header::CONTENT_LENGTH), Some(&b"2"[..]));
    assert_eq!(answered.into_body().collect().await.unwrap().to_bytes(), "");
    assert!(line.rest());
}

#[tokio::test]
async fn a_line_that_is_hung_up_wakes_who_waits_and_gives_no_more() {
    let (line, mut there) = connect();
    let hanging_up = async {
        heard(&mut there, SAID.len()).await;
        line.hang_up();
    };
    let mut asked = said();
    let (failed, ()) =
        timeout(PATIENCE, async { tokio::join!(line.call(&mut asked), hanging_up) }).await.unwrap();
    assert_eq!(failed.err(), Some(Failed::Lost(io::ErrorKind::NotConnected)));

    let (line, mut there) = connect();
    let answering = async {
        heard(&mut there, SAID.len()).await;
        there.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}").await.unwrap();
    };
    let (answered, ()) = tokio::join!(line.call(&mut asked), answering);
    let mut body = answered.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "{}");
    assert!(!line.rest());
    line.hang_up();
    assert!(body.frame().await.unwrap().is_err());
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_call_that_waits_for_too_many_sweeps_is_late_and_one_that_is_answered_is_not() {
    let lines = lines();
    let (ours, _there) = tokio::io::duplex(ROOM);
    let line = lines.open(ours);
    let mut asked = said();
    let mut asking = pin!(line.call(&mut asked));
    for _ in 0..3 {
        assert!(is_pending(asking.as_mut()).await);
        lines.sweep_once();
    }
    assert!(is_pending(asking.as_mut()).await);
    let sweeping = async { lines.sweep_once() };
    let both = timeout(PATIENCE, async { tokio::join!(biased; asking, sweeping) });
    let (late, ()) = both.await.expect("it is woken for that");
    assert_eq!(late.err(), Some(Failed::Late));

    let (ours, mut there) = tokio::io::duplex(ROOM);
    let line = lines.open(ours);
    for is_timed in [true, false] {
        let mut asked = said();
        line.begin(&mut asked, false, is_timed);
        let answering = async {
            if !is_timed {
                (0..9).for_each(|_| lines.sweep_once());
            }
            heard(&mut there, SAID.len()).await;
            there.write_all(ANSWER).await.unwrap();
        };
        let (answered, ()) = tokio::join!(biased; poll_fn(|cx| line.poll_answer(&mut asked, cx)), answering);
        (0..9).for_each(|_| lines.sweep_once());
        assert_eq!(whole(answered).await, "{}");
        assert!(line.rest());
    }
}

/// A connection that does what is written: what its writes come to, all of what is written afterwards; and what can be read, where `None` is to be asked again, nothing afterwards, of which it
/// wakes nobody, nor when it is closed.
#[derive(Default)]
struct Scripted {
    writes: VecDeque<io::Result<usize>>,
    reads: VecDeque<Option<&'static [u8]>>,
}

impl AsyncWrite for Scripted {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.writes.pop_front().unwrap_or(Ok(bytes.len())))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Scripted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.reads.pop_front() {
            Some(Some(bytes)) => {
                buffer.put_slice(bytes);
                return Poll::Ready(Ok(()));
            }
            Some(None) => cx.waker().wake_by_ref(),
            None => {}
        }
        Poll::Pending
    }
}

#[tokio::test]
async fn what_was_said_before_no_more_was_taken_is_read() {
    // That it is there is told of later than that no more is taken.
    let writes = [Ok(1), Err(io::ErrorKind::ConnectionReset.into())].into();
    let line = lines().open(Scripted { writes, reads: [None, None, Some(ANSWER)].into() });
    assert_eq!(whole(line.call(&mut said()).await).await, "{}");
    assert!(!line.rest());
}

/// Whether somebody was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn who_waits_for_more_of_an_answer_hears_when_its_line_is_hung_up() {
    let begins: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}";
    let line = lines().open(Scripted { reads: [None, Some(begins)].into(), ..Scripted::default() });
    let mut body = line.call(&mut said()).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "{}");
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    assert!(pin!(body.frame()).poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(!woken.0.load(Ordering::Relaxed));
    line.hang_up();
    assert!(woken.0.load(Ordering::Relaxed));
    assert!(body.frame().await.unwrap().is_err());
}

#[tokio::test]
async fn of_a_body_that_is_coming_nothing_is_taken_before_something_has_gone_out() {
    for refuses in [Err(io::ErrorKind::BrokenPipe.into()), Ok(0)] {
        let (pieces, body) = coming(None);
        pieces.send(Ok("said".into())).unwrap();
        drop(pieces);
        let mut asked = request(body);
        let line = lines().open(Scripted { writes: [refuses].into(), ..Scripted::default() });
        assert_eq!(line.call(&mut asked).await.err(), Some(Failed::Unsent));
        assert_eq!(asked.body.collect().await.unwrap().to_bytes(), "said");
    }
}

#[tokio::test]
async fn a_line_that_was_closed_takes_nothing_of_a_call() {
    let (line, _there) = connect();
    let (pieces, body) = coming(Some(4));
    pieces.send(Ok("said".into())).unwrap();
    drop(pieces);
    let mut asked = request(body);
    line.hang_up();
    assert_eq!(line.call(&mut asked).await.err(), Some(Failed::Unsent));
    assert_eq!(asked.body.collect().await.unwrap().to_bytes(), "said");
}

#[tokio::test]
async fn an_end_is_seen_before_anything_goes_out_also_when_the_tasks_turn_is_used_up() {
    let (line, there) = connect();
    drop(there);
    let mut asked = said();
    let mut calling = pin!(line.call(&mut asked));
    let failed = poll_fn(|cx| {
        while coop::has_budget_remaining() {
            let _used = pin!(coop::consume_budget()).poll(cx);
        }
        calling.as_mut().poll(cx)
    });
    assert_eq!(failed.await.err(), Some(Failed::Unsent));
}

/// A request as it is read: its line, its fields, its body. It is followed by nothing, and its reader leaves.
async fn read(mut there: DuplexStream) -> (String, HeaderMap, Vec<u8>) {
    let mut reader = RequestReader::new(HeadLimits { bytes: 1 << 16, fields: 100 });
    let (mut head, mut body) = (None, Vec::new());
    while head.is_none() || !reader.is_over() {
        let mut came = Vec::new();
        there.read_buf(&mut came).await.unwrap();
        assert!(!came.is_empty(), "it breaks off");
        if head.is_some() {
            body.extend_from_slice(&reader.take_body(&came).unwrap());
        } else {
            let mut request = IncomingRequest::<()>::default();
            if let Some(Received { first, .. }) = reader.take_head(&came, &mut request).unwrap() {
                body.extend_from_slice(&first);
                head = Some(request);
            }
        }
    }
    assert!(!reader.holds_more());
    let head = head.unwrap();
    (format!("{} {} {:?}", head.method(), head.uri(), head.version()), head.headers().to_map(), body)
}

proptest! {
    #[test]
    fn a_request_is_read_as_it_was_written(
        pieces in vec("[a-z{}\"\r\n ]{0,40}|x{9000}|y{40000}", 0..5),
        fields in vec(("x-[a-z]{1,5}", "[a-z]{0,9}"), 0..4),
        tells_length in any::<bool>(),
        is_here in any::<bool>(),
        room in 1..100_000_usize,
    ) {
        let all = pieces.concat();
        let (sender, body) = coming(tells_length.then_some(all.len() as u64));
        for piece in &pieces {
            sender.send(Ok(Bytes::from(piece.clone()))).unwrap();
        }
        drop(sender);
        let mut asked = request(if is_here { http1::Body::from(Bytes::from(all.clone())) } else { body });
        let mut expected = HeaderMap::from_iter([(header::HOST, "there".parse().unwrap())]);
        for (name, value) in &fields {
            let name: header::HeaderName = name.parse().unwrap();
            prop_assert!(asked.fields.add(&name, value.as_bytes()));
            expected.append(name, value.parse().unwrap());
        }
        if is_here || tells_length {
            expected.insert(header::CONTENT_LENGTH, all.len().into());
        } else {
            expected.insert(header::TRANSFER_ENCODING, "chunked".parse().unwrap());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (ours, there) = tokio::io::duplex(room);
        let line = lines().open(ours);
        let both = async { tokio::join!(line.call(&mut asked), read(there)) };
        let (failed, (line, headers, body)) = runtime.block_on(both);
        prop_assert_eq!(failed.err(), Some(Failed::Lost(io::ErrorKind::UnexpectedEof)));
        prop_assert_eq!(line, "POST /v1/chat?a=b HTTP/1.1");
        prop_assert_eq!(headers, expected);
        prop_assert_eq!(body, all.into_bytes());
    }
}
