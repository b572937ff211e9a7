use std::{
    fs::OpenOptions,
    future::poll_fn,
    io,
    path::Path,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bailiwick_domain::usage::EventId;
use bailiwick_runtime::http1::Body;
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{LocalBoxFuture, join_all},
    stream::FuturesUnordered,
};
use http::{Method, Request, Response, header};
use http_body_util::BodyExt as _;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf},
    task::LocalSet,
    time::timeout,
};

use super::{
    line::{Failed, Line, Scratch},
    outbox::Outbox,
};
use crate::{
    metering::{Journals, Meter, OpenCall, settled, tests},
    upload::{HELD_BEHIND_MODEL, tests::begun},
    upstream::body::Outbound,
};

/// Bytes that a provider's end takes before it is read.
const ROOM: usize = 80;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

struct World {
    folder: tempfile::TempDir,
    meter: Meter,
    outbox: Outbox,
    scratch: Scratch,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let writer = Journals::open(folder.path(), 1, 1 << 20, tests::now()).unwrap().writers.pop();
        let meter = Meter::new(writer, tests::clock());
        Self { folder, meter, outbox: Outbox::default(), scratch: Scratch::default() }
    }

    fn connect(&self) -> (Rc<Line>, DuplexStream) {
        let (ours, provider) = tokio::io::duplex(ROOM);
        (Line::new(Box::new(ours), &self.meter, &self.scratch), provider)
    }

    fn call(&self) -> OpenCall {
        self.meter.start(tests::call()).unwrap()
    }

    fn on_disk(&self) -> usize {
        settled::started(self.folder()).len()
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    async fn queued(
        &self,
        line: &Rc<Line>,
        request: &mut Request<Outbound>,
        call: EventId,
    ) -> Result<Response<Body>, Failed> {
        line.begin(request, call, true, None);
        self.outbox.push(line);
        poll_fn(|cx| line.poll_answer(request, cx)).await
    }
}

fn request(body: &'static str) -> Request<Outbound> {
    let mut request = Request::new(Outbound::from(bytes::Bytes::from_static(body.as_bytes())));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = "/v1/chat?a=b".parse().unwrap();
    request.headers_mut().insert(header::HOST, "provider".parse().unwrap());
    request
}

/// What a provider hears until nothing more comes, when `length` bytes have.
async fn heard(provider: &mut DuplexStream, length: usize) -> String {
    let mut bytes = vec![0; length];
    provider.read_exact(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

const SAID: &str = "POST /v1/chat?a=b HTTP/1.1\r\nhost: provider\r\ncontent-length: 4\r\n\r\nsaid";

#[tokio::test]
async fn r10_what_goes_out_together_is_on_disk_together_and_before() {
    let world = World::new();
    let connections: Vec<_> = (0..3).map(|_| world.connect()).collect();
    let calls: Vec<_> = (0..3).map(|_| world.call()).collect();
    let (lines, providers): (Vec<_>, Vec<_>) = connections.into_iter().unzip();
    let asking = lines.iter().zip(&calls).map(async |(line, call)| {
        let answered = world.queued(line, &mut request("said"), call.event_id()).await;
        answered.unwrap().into_body().collect().await.unwrap().to_bytes()
    });
    let answering = providers.into_iter().map(async |mut provider| {
        let first = provider.read_u8().await.unwrap();
        assert_eq!((first, world.on_disk()), (b'P', 3));
        let rest = heard(&mut provider, SAID.len() - 1).await;
        assert_eq!(["P", &rest].concat(), SAID);
        provider.write_all(ANSWER).await.unwrap();
        provider
    });
    let run = async { tokio::join!(join_all(asking), join_all(answering)) };
    let (answers, _providers) = LocalSet::new().run_until(run).await;
    assert!(answers.iter().all(|answer| &**answer == b"{}"));
    assert!(lines.iter().all(|line| line.is_at_rest() && line.is_quiet()));
}

#[tokio::test]
async fn a_call_whose_caller_leaves_before_it_goes_out_never_does() {
    let world = World::new();
    let ((line, mut provider), call) = (world.connect(), world.call());
    let run = async {
        {
            let mut request = request("said");
            let mut asking = pin!(world.queued(&line, &mut request, call.event_id()));
            assert!(poll_fn(|cx| Poll::Ready(asking.as_mut().poll(cx).is_pending())).await);
        }
        line.hang_up();
        let mut heard = Vec::new();
        provider.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"");
        assert_eq!(world.on_disk(), 0);
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test]
async fn what_was_said_before_anything_was_asked_is_no_answer() {
    let world = World::new();
    for (said, is_queued) in [(Some(ANSWER), true), (Some(ANSWER), false), (None, true), (None, false)] {
        let ((line, mut provider), call) = (world.connect(), world.call());
        assert!(line.is_quiet() && line.is_at_rest());
        match said {
            Some(said) => provider.write_all(said).await.unwrap(),
            None => provider.shutdown().await.unwrap(),
        }
        let mut asked = request("said");
        line.begin(&mut asked, call.event_id(), is_queued, None);
        let failed = poll_fn(|cx| line.poll_answer(&mut asked, cx)).await.err();
        assert_eq!(failed, Some(Failed::Unsent));
        assert_eq!(asked.headers()[header::HOST], "provider", "it is whole");
        assert_eq!(asked.body().whole().unwrap(), "said");
        line.write_queued();
        line.hang_up();
        let mut heard = Vec::new();
        provider.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"", "{said:?}");
    }
}

#[tokio::test]
async fn what_a_provider_says_unasked_while_a_connection_rests_is_seen() {
    let world = World::new();
    let (line, mut provider) = world.connect();
    assert!(line.is_quiet());
    provider.write_all(b"x").await.unwrap();
    assert!(!line.is_quiet());
    let (line, provider) = world.connect();
    drop(provider);
    assert!(!line.is_quiet());
}

#[tokio::test]
async fn a_provider_that_reads_slowly_gets_all_of_it() {
    let world = World::new();
    let ((line, mut provider), call) = (world.connect(), world.call());
    let large: &'static str = "x".repeat(100_000).leak();
    let mut asked = request(large);
    let asking = async {
        let answered = world.queued(&line, &mut asked, call.event_id()).await;
        assert_eq!(answered.unwrap().into_body().collect().await.unwrap().to_bytes(), "{}");
    };
    let answering = async {
        let head = SAID.replace("length: 4", "length: 100000").replace("said", "");
        assert_eq!(heard(&mut provider, head.len()).await, head);
        assert_eq!(heard(&mut provider, large.len()).await, large);
        provider.write_all(ANSWER).await.unwrap();
    };
    // Each is polled only when it is woken itself.
    let both: FuturesUnordered<LocalBoxFuture<'_, ()>> =
        [asking.boxed_local(), answering.boxed_local()].into_iter().collect();
    let tasks = LocalSet::new();
    let run = tasks.run_until(both.collect::<Vec<()>>());
    timeout(Duration::from_secs(30), run).await.expect("the call is woken to write on");
    assert!(line.is_at_rest());
}

#[tokio::test]
async fn an_answer_that_comes_before_all_was_read_counts_and_is_the_connections_last() {
    let world = World::new();
    for closes in [false, true] {
        let ((line, mut provider), call) = (world.connect(), world.call());
        let mut asked = request("x".repeat(100_000).leak());
        line.begin(&mut asked, call.event_id(), false, None);
        let answering = async {
            heard(&mut provider, 10).await;
            provider.write_all(ANSWER).await.unwrap();
            Some(provider).filter(|_| !closes)
        };
        let (answered, _provider) = tokio::join!(poll_fn(|cx| line.poll_answer(&mut asked, cx)), answering);
        assert_eq!(answered.unwrap().into_body().collect().await.unwrap().to_bytes(), "{}");
        assert!(!line.is_at_rest());
    }
}

#[tokio::test]
async fn a_provider_that_takes_no_more_and_says_nothing_has_lost_the_call() {
    let world = World::new();
    let ((line, mut provider), call) = (world.connect(), world.call());
    let mut asked = request("x".repeat(100_000).leak());
    line.begin(&mut asked, call.event_id(), false, None);
    let leaving = async {
        heard(&mut provider, 10).await;
        drop(provider);
    };
    let (failed, ()) = tokio::join!(poll_fn(|cx| line.poll_answer(&mut asked, cx)), leaving);
    assert_eq!(failed.err(), Some(Failed::Lost));
}

#[tokio::test]
async fn nobody_elses_word_ends_the_body() {
    let world = World::new();
    let ((line, mut provider), call) = (world.connect(), world.call());
    let mut asked = request("said");
    for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        asked.headers_mut().insert(name, "7".parse().unwrap());
    }
    line.begin(&mut asked, call.event_id(), false, None);
    poll_fn(|cx| Poll::Ready(line.poll_answer(&mut asked, cx).is_pending())).await;
    assert_eq!(heard(&mut provider, SAID.len()).await, SAID);
    line.hang_up();
    let mut more = Vec::new();
    provider.read_to_end(&mut more).await.unwrap();
    assert_eq!(more, b"");
}

#[tokio::test]
async fn a_connection_that_is_hung_up_gives_no_more_of_its_answer() {
    let world = World::new();
    let ((line, mut provider), call) = (world.connect(), world.call());
    let mut asked = request("said");
    line.begin(&mut asked, call.event_id(), false, None);
    provider.write_all(b"").await.unwrap();
    let answering = async {
        heard(&mut provider, SAID.len()).await;
        provider.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}").await.unwrap();
    };
    let (answered, ()) = tokio::join!(poll_fn(|cx| line.poll_answer(&mut asked, cx)), answering);
    let mut body = answered.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "{}");
    assert!(!line.is_at_rest());
    line.hang_up();
    assert!(body.frame().await.unwrap().is_err());
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_call_that_waits_for_too_many_sweeps_is_late_and_one_that_is_answered_is_not() {
    let world = World::new();
    let ((line, _provider), call) = (world.connect(), world.call());
    let mut asked = request("said");
    line.begin(&mut asked, call.event_id(), false, Some(7));
    let mut asking = pin!(poll_fn(|cx| line.poll_answer(&mut asked, cx)));
    for now in 7..=10 {
        line.sweep(now, 3);
        assert!(poll_fn(|cx| Poll::Ready(asking.as_mut().poll(cx).is_pending())).await);
    }
    let sweeping = async { line.sweep(11, 3) };
    let (late, ()) = tokio::join!(biased; asking, sweeping);
    assert_eq!(late.err(), Some(Failed::Late), "it is woken for that");

    let ((line, mut provider), call) = (world.connect(), world.call());
    for _ in 0..2 {
        let mut asked = request("said");
        line.begin(&mut asked, call.event_id(), false, Some(7));
        let answering = async {
            heard(&mut provider, SAID.len()).await;
            provider.write_all(ANSWER).await.unwrap();
        };
        let (answered, ()) = tokio::join!(poll_fn(|cx| line.poll_answer(&mut asked, cx)), answering);
        line.sweep(u32::MAX, 3);
        assert_eq!(answered.unwrap().into_body().collect().await.unwrap().to_bytes(), "{}");
        assert!(line.is_at_rest());
    }
}

/// A connection whose provider has answered, and closed before it had read all: what it said is told of later than that it takes no more.
#[derive(Default)]
struct Reset {
    has_begun: bool,
    was_asked: bool,
}

impl AsyncWrite for Reset {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match std::mem::replace(&mut self.has_begun, true) {
            false => Poll::Ready(Ok(bytes.len().min(10))),
            true => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Reset {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.has_begun || !std::mem::replace(&mut self.was_asked, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        buffer.put_slice(ANSWER);
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn what_a_provider_said_before_it_took_no_more_is_read() {
    let world = World::new();
    let (line, call) = (Line::new(Box::new(Reset::default()), &world.meter, &world.scratch), world.call());
    let mut asked = request("said");
    line.begin(&mut asked, call.event_id(), false, None);
    let answered = poll_fn(|cx| line.poll_answer(&mut asked, cx)).await;
    assert_eq!(answered.unwrap().into_body().collect().await.unwrap().to_bytes(), "{}");
    assert!(!line.is_at_rest());
}

/// A connection whose provider takes no more once it is waited for, and says nothing, nor that it is gone.
struct Deaf;

impl AsyncWrite for Deaf {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Deaf {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn a_form_that_nobody_takes_waits_for_no_caller() {
    let world = World::new();
    let part = |name: &str, value: &str| {
        format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let form = part("model", "m") + &part("file", &"x".repeat(2 * HELD_BEHIND_MODEL));
    let upload = begun(form.as_bytes(), 2 * form.len()).await;
    let (line, call) = (Line::new(Box::new(Deaf), &world.meter, &world.scratch), world.call());
    let mut asked = request("").map(|_| Outbound::Form(Box::new(upload.body("m"))));
    let progress = asked.body().progress().map(Rc::clone).unwrap();
    line.begin(&mut asked, call.event_id(), false, None);
    let bound = Duration::from_secs(10);
    let answered = progress.answered_within(bound, poll_fn(|cx| line.poll_answer(&mut asked, cx)));
    let late = timeout(5 * bound, answered).await.expect("nobody waits for a caller whose form is not taken");
    assert!(late.is_none());
    assert!(!line.is_at_rest());
}

#[tokio::test]
async fn r10_a_call_that_is_not_on_record_is_tried_on_no_other_connection() {
    let world = World::new();
    let ((line, mut provider), call) = (world.connect(), world.call());
    world.meter.write_to(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let mut asked = request("said");
    line.begin(&mut asked, call.event_id(), false, None);
    let failed = poll_fn(|cx| line.poll_answer(&mut asked, cx)).await.err();
    assert_eq!(failed, Some(Failed::Lost));
    line.hang_up();
    let mut heard = Vec::new();
    provider.read_to_end(&mut heard).await.unwrap();
    assert_eq!((heard, call.is_recorded()), (Vec::new(), false));
}
