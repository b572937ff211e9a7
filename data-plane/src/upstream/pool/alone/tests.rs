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
use bailiwick_runtime::{
    calling::{Failed, Lines, OutgoingRequest},
    http1::{Body, Fields, IncomingResponse},
};
use futures_util::future::join_all;
use http::{Method, header};
use http_body_util::BodyExt as _;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf},
    task::LocalSet,
    time::timeout,
};

use super::{LONGEST_IDLE, Line, Sent, became, outbox::Outbox};
use crate::{
    metering::{Carried, Journals, Meter, OpenCall, Recorded, settled, tests},
    upload::{HELD_BEHIND_MODEL, tests::begun},
    upstream::{body::Outbound, connect::Stream},
};

/// Bytes that a provider's end takes before it is read.
const ROOM: usize = 80;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

struct World {
    folder: tempfile::TempDir,
    meter: Meter,
    outbox: Outbox,
    lines: Lines<Recorded<Box<dyn Stream>>, Outbound>,
}

/// A line, and what call it carries.
struct Wired(Rc<Line>, Carried);

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let writer = Journals::open(folder.path(), 1, 1 << 20, tests::now()).unwrap().writers.pop();
        let meter = Meter::new(writer, tests::clock());
        let lines = Lines::new(Duration::from_secs(60), LONGEST_IDLE);
        Self { folder, meter, outbox: Outbox::default(), lines }
    }

    fn wired(&self, stream: Box<dyn Stream>) -> Wired {
        let carried = Carried::default();
        let line = self.lines.open(Recorded::new(stream, self.meter.clone(), carried.clone()));
        Wired(line, carried)
    }

    fn connect(&self) -> (Wired, DuplexStream) {
        let (ours, provider) = tokio::io::duplex(ROOM);
        (self.wired(Box::new(ours)), provider)
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
        Wired(line, carried): &Wired,
        request: &mut OutgoingRequest<Outbound>,
        call: EventId,
    ) -> Result<IncomingResponse<Body>, Failed> {
        carried.carries(call);
        line.begin(request, true, false);
        self.outbox.push(line);
        poll_fn(|cx| line.poll_answer(request, cx)).await
    }
}

fn request(body: &'static str) -> OutgoingRequest<Outbound> {
    let body = Outbound::from(bytes::Bytes::from_static(body.as_bytes()));
    let mut fields = Fields::default();
    assert!(fields.add(&header::HOST, b"provider"));
    OutgoingRequest { method: Method::POST, target: "/v1/chat?a=b".parse().unwrap(), fields, body }
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
    assert!(lines.iter().all(|Wired(line, _)| line.rest()));
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
        line.0.hang_up();
        let mut heard = Vec::new();
        provider.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"");
        assert_eq!(world.on_disk(), 0);
    };
    LocalSet::new().run_until(run).await;
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
    let (Wired(line, carried), call) = (world.wired(Box::new(Deaf)), world.call());
    let mut asked = OutgoingRequest { body: Outbound::Form(Box::new(upload.body("m"))), ..request("") };
    let progress = asked.body.progress().map(Rc::clone).unwrap();
    carried.carries(call.event_id());
    line.begin(&mut asked, false, false);
    let bound = Duration::from_secs(10);
    let answered = progress.answered_within(bound, poll_fn(|cx| line.poll_answer(&mut asked, cx)));
    let late = timeout(5 * bound, answered).await.expect("nobody waits for a caller whose form is not taken");
    assert!(late.is_none());
    assert!(!line.rest());
}

#[tokio::test]
async fn r10_a_call_that_is_not_on_record_is_tried_on_no_other_connection() {
    let world = World::new();
    for is_writable in [true, false] {
        let ((Wired(line, carried), mut provider), call) = (world.connect(), world.call());
        if is_writable {
            provider.shutdown().await.unwrap();
        } else {
            world.meter.write_to(OpenOptions::new().write(true).open("/dev/full").unwrap());
        }
        let mut asked = request("said");
        carried.carries(call.event_id());
        line.begin(&mut asked, false, false);
        let failed = poll_fn(|cx| line.poll_answer(&mut asked, cx)).await.err().unwrap();
        let is_lost = matches!(became(failed, &carried), Some(Sent::Lost));
        assert_eq!((failed, is_lost), (Failed::Unsent, !is_writable));
        line.hang_up();
        let mut heard = Vec::new();
        provider.read_to_end(&mut heard).await.unwrap();
        assert_eq!((heard, call.is_recorded()), (Vec::new(), is_writable));
    }
}
