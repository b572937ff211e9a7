//! Forms with files, which pass while they come.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bailiwick_proto::worker::v1::CallEnd;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

use super::{
    provider::{self, Then},
    world::{MAX_UPLOAD, World},
};
use crate::{metering::settled::Metered, polling::eventually};

const MIB: usize = 1 << 20;
const MODEL: &[u8] = b"--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\npublic\r\n";
const RENAMED: &[u8] = b"--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nupstream\r\n";
const FILE: &[u8] = b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg\r\n\r\n";
const END: &[u8] = b"\r\n--XX--\r\n";
const TEXT: &str = r#"{"text":"hello","usage":{"type":"duration","seconds":2}}"#;

/// Bytes that look like boundaries all the time, and are none.
fn sound(length: usize) -> Vec<u8> {
    b"\r\n--X\r\n-\r\r\n--Xx--X ".iter().copied().cycle().take(length).collect()
}

/// A provider that keeps what it hears, and does with each connection what is planned for it; the last plan goes for all that follow.
struct Listener {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    reads: watch::Sender<bool>,
    _serving: JoinSet<()>,
}

#[derive(Clone, Default)]
struct Heard {
    bytes: Vec<u8>,
    /// The other end has closed.
    is_over: bool,
}

impl Heard {
    fn head(&self) -> String {
        let end = self.bytes.windows(4).position(|at| at == b"\r\n\r\n").unwrap_or_default();
        String::from_utf8(self.bytes[..end].to_vec()).unwrap().to_ascii_lowercase()
    }

    /// The body, and whether it is whole.
    fn body(&self) -> (Vec<u8>, bool) {
        let Some(end) = self.bytes.windows(4).position(|at| at == b"\r\n\r\n") else {
            return (Vec::new(), false);
        };
        let (head, mut rest) = (self.head(), &self.bytes[end + 4..]);
        if let Some((_, length)) = head.split_once("content-length: ") {
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            return (rest.to_vec(), rest.len() == length);
        }
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        let mut body = Vec::new();
        while let Some(line) = rest.windows(2).position(|at| at == b"\r\n") {
            let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
            if length == 0 {
                return (body, rest[line..].len() >= 4);
            }
            rest = &rest[line + 2..];
            body.extend_from_slice(&rest[..length.min(rest.len())]);
            rest = rest.get(length + 2..).unwrap_or_default();
        }
        (body, false)
    }
}

#[derive(Clone)]
enum Plan {
    /// Answers when the body is whole.
    Answer(provider::Script),
    /// Answers when so many bytes have come, and reads nothing more until it is told to.
    Early(usize, provider::Script),
    /// Reads the head, and nothing more until it is told to; then answers as the first.
    Stall,
}

impl Listener {
    async fn start(plans: &[Plan]) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(64 << 10).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener: TcpListener = socket.listen(64).unwrap();
        let (address, heard) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<Heard>>>::default());
        let (reads, may_read) = watch::channel(false);
        let (all, plans) = (Arc::clone(&heard), plans.to_vec());
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let number = connections.len();
                all.lock().unwrap().push(Heard::default());
                let plan = plans.get(number).or(plans.last()).unwrap().clone();
                connections.spawn(listen(stream, number, plan, Arc::clone(&all), may_read.clone()));
            }
        });
        Self { address, heard, reads, _serving: serving }
    }

    fn endpoint(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// What a connection's body has come to.
    fn received(&self, number: usize) -> usize {
        self.heard.lock().unwrap().get(number).map_or(0, |heard| heard.bytes.len())
    }

    fn is_over(&self, number: usize) -> bool {
        self.heard.lock().unwrap().get(number).is_some_and(|heard| heard.is_over)
    }
}

async fn listen(
    mut stream: TcpStream,
    number: usize,
    plan: Plan,
    all: Arc<Mutex<Vec<Heard>>>,
    mut may_read: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 << 10];
    let mut answered = false;
    loop {
        let read = stream.read(&mut buffer).await.unwrap_or_default();
        let (length, is_whole) = {
            let mut all = all.lock().unwrap();
            let heard = &mut all[number];
            heard.bytes.extend_from_slice(&buffer[..read]);
            heard.is_over = read == 0;
            (
                heard.bytes.len(),
                heard.bytes.ends_with(b"--XX--\r\n") || heard.bytes.ends_with(b"--XX--\r\n\r\n0\r\n\r\n"),
            )
        };
        if read == 0 {
            return;
        }
        let answer = match &plan {
            Plan::Early(after, answer) if length >= *after => Some(answer.clone()),
            Plan::Answer(answer) if is_whole => Some(answer.clone()),
            Plan::Stall if is_whole => Some(provider::json(200, TEXT)),
            Plan::Stall => {
                may_read.wait_for(|may| *may).await.unwrap();
                None
            }
            _ => None,
        };
        let Some((pieces, then)) = answer.filter(|_| !answered) else { continue };
        for piece in pieces {
            let _may_be_gone = stream.write_all(&piece).await;
        }
        if matches!(plan, Plan::Early(..)) {
            answered = true;
            may_read.wait_for(|may| *may).await.unwrap();
        }
        if then == Then::Close {
            return;
        }
    }
}

/// A caller who sends by hand.
struct Caller {
    stream: TcpStream,
    is_chunked: bool,
}

impl Caller {
    /// `length`: of the body; `None`: it comes in chunks.
    async fn begin(world: &World, length: Option<usize>) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(64 << 10).unwrap();
        let mut stream = socket.connect(world.address()).await.unwrap();
        let framing = length
            .map_or("transfer-encoding: chunked".to_owned(), |length| format!("content-length: {length}"));
        let head = format!(
            "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: worker\r\nauthorization: Bearer {}\r\nconnection: close\r\n\
             content-type: multipart/form-data; boundary=XX\r\n{framing}\r\n\r\n",
            world.key.expose()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        Self { stream, is_chunked: length.is_none() }
    }

    /// Whether it was taken.
    async fn send(&mut self, bytes: &[u8]) -> bool {
        for piece in bytes.chunks(50_000) {
            let framed = match self.is_chunked {
                true => [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat(),
                false => piece.to_vec(),
            };
            if self.stream.write_all(&framed).await.is_err() {
                return false;
            }
        }
        true
    }

    async fn end(&mut self) {
        if self.is_chunked {
            let _may_be_gone = self.stream.write_all(b"0\r\n\r\n").await;
        }
    }

    /// Status and text.
    async fn answer(mut self) -> (u16, String) {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).await.unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("no answer: {text}")), text)
    }
}

/// Sends all of a form.
async fn sent(world: &World, is_chunked: bool, form: &[u8]) -> (u16, String) {
    let mut caller = Caller::begin(world, Some(form.len()).filter(|_| !is_chunked)).await;
    caller.send(form).await;
    caller.end().await;
    caller.answer().await
}

fn answers(status: u16, text: &str) -> Plan {
    Plan::Answer(provider::json(status, text))
}

fn told(event: &Metered) -> (u32, CallEnd, bool, i64) {
    (event.status, event.end(), event.priced, event.cost_nanos_usd)
}

#[tokio::test]
async fn a_file_larger_than_the_memory_for_bodies_passes_byte_for_byte() {
    for is_chunked in [false, true] {
        let listener = Listener::start(&[answers(200, TEXT)]).await;
        let world = World::start(&[listener.endpoint()]);
        let file = sound(24 * MIB);
        let form = [MODEL, FILE, &file, END].concat();
        let (status, text) = sent(&world, is_chunked, &form).await;
        assert_eq!(status, 200, "{text}");
        assert!(text.ends_with(TEXT));
        let heard = listener.heard().remove(0);
        assert!(heard.head().contains("content-type: multipart/form-data; boundary=xx"));
        assert_eq!(heard.head().contains("content-length: "), !is_chunked);
        let (body, is_whole) = heard.body();
        assert!(is_whole && body == [RENAMED, FILE, &file, END].concat());
        let event = &world.metered(1).await[0];
        assert_eq!((event.audio_millis, event.attempts, event.status), (2000, 1, 200));
    }
}

#[tokio::test]
async fn r10_bytes_arrive_before_the_caller_has_sent_all_and_behind_the_record_of_their_call() {
    let listener = Listener::start(&[answers(200, TEXT)]).await;
    let world = World::start(&[listener.endpoint()]);
    let (beginning, rest) = ([MODEL, FILE, &sound(MIB)].concat(), [&sound(MIB)[..], END].concat());
    let mut caller = Caller::begin(&world, Some(beginning.len() + rest.len())).await;
    assert!(caller.send(&beginning).await);
    eventually(|| listener.received(0) > MIB / 2).await;
    assert_eq!((world.started_now().len(), world.metered_now().len()), (1, 0));
    assert!(caller.send(&rest).await);
    assert_eq!(caller.answer().await.0, 200);
}

#[tokio::test]
async fn a_slow_provider_makes_a_slow_caller() {
    let listener = Listener::start(&[Plan::Stall]).await;
    let world = World::start(&[listener.endpoint()]);
    let form = [MODEL, FILE, &sound(24 * MIB), END].concat();
    let mut caller = Caller::begin(&world, Some(form.len())).await;
    let mut sent = 0;
    // What is in the sockets' buffers has left the caller, and nothing else.
    while let Ok(Ok(more)) = timeout(Duration::from_millis(500), caller.stream.write(&form[sent..])).await {
        sent += more;
        assert!(sent < form.len(), "all of it was taken");
    }
    assert!(sent > 64 << 10);
    listener.reads.send_replace(true);
    assert!(caller.send(&form[sent..]).await);
    assert_eq!(caller.answer().await.0, 200);
    let (body, is_whole) = listener.heard()[0].body();
    assert!(is_whole && body.len() == form.len() - MODEL.len() + RENAMED.len());
}

#[tokio::test]
async fn a_caller_who_stops_ends_the_upstream_call_and_owes_nothing() {
    for is_chunked in [false, true] {
        let listener = Listener::start(&[answers(200, TEXT)]).await;
        let world = World::start(&[listener.endpoint()]);
        let mut caller = Caller::begin(&world, (!is_chunked).then_some(20 * MIB)).await;
        assert!(caller.send(&[MODEL, FILE, &sound(MIB)].concat()).await);
        eventually(|| listener.received(0) > MIB / 2).await;
        drop(caller);
        eventually(|| listener.is_over(0)).await;
        assert!(!listener.heard()[0].body().1, "no provider takes it for whole");
        let event = &world.metered(1).await[0];
        assert_eq!((event.end(), event.priced, event.cost_nanos_usd), (CallEnd::CallerLeft, true, 0));
        // And nobody holds it against the deployment.
        assert_eq!(sent(&world, is_chunked, &[MODEL, FILE, b"a", END].concat()).await.0, 200);
    }
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_refused_before_a_provider_has_all_of_it() {
    let (file, other) = (sound(MIB), RENAMED);
    let nested: &[u8] = b"\r\n--XX\r\nContent-Disposition: form-data; name=\"x\"\r\nContent-Type: multipart/mixed; boundary=Y\r\n\r\n--Y--";
    let long =
        [b"\r\n--XX\r\nContent-Disposition: form-data; name=\"x\"\r\nX: ".as_slice(), &[b'x'; 5000]].concat();
    let many = b"\r\n--XX\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n".repeat(64);
    let forms: [Vec<u8>; 8] = [
        [MODEL, FILE, &file, b"\r\n", other, END].concat(),
        [MODEL, FILE, &file, nested, END].concat(),
        [MODEL, FILE, &file, &long, END].concat(),
        [MODEL, FILE, &file, &many, END].concat(),
        [MODEL, FILE, &file, b"\n--XX\n", END].concat(),
        [MODEL, FILE, &file, END, other, END].concat(),
        [MODEL, FILE, &file].concat(),
        [MODEL, FILE, &file, b"\r\n--XX"].concat(),
    ];
    for is_chunked in [false, true] {
        let listener = Listener::start(&[answers(200, TEXT)]).await;
        let world = World::start(&[listener.endpoint()]);
        for (number, form) in forms.iter().enumerate() {
            let (status, text) = sent(&world, is_chunked, form).await;
            assert_eq!(status, 400, "{number}: {text}");
            assert!(text.contains("invalid_request"));
            eventually(|| listener.is_over(number)).await;
            let heard = &listener.heard()[number];
            assert!(!heard.body().1, "{number}: a provider has all of it");
            assert!(heard.bytes.windows(other.len()).skip(other.len() * 4).all(|at| at != other));
            let event = &world.metered(number + 1).await[number];
            assert_eq!(told(event), (400, CallEnd::Completed, true, 0));
        }
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_at_once_or_when_it_proves_to_be() {
    let listener = Listener::start(&[answers(200, TEXT)]).await;
    let world = World::start(&[listener.endpoint()]);
    let caller = Caller::begin(&world, Some(MAX_UPLOAD + 1)).await;
    let (status, text) = caller.answer().await;
    assert!(status == 413 && text.contains("request_too_large"), "{text}");
    assert!(listener.heard().is_empty() && world.metered_now().is_empty());

    let form = [MODEL, FILE, &sound(MAX_UPLOAD), END].concat();
    let (status, text) = sent(&world, true, &form).await;
    assert!(status == 413 && text.contains("request_too_large"), "{text}");
    assert!(!listener.heard()[0].body().1);
    assert_eq!(told(&world.metered(1).await[0]), (413, CallEnd::Completed, true, 0));
}

#[tokio::test]
async fn a_provider_that_answers_early_is_heard_and_sent_no_more() {
    let too_large = r#"{"error":{"message":"too large","type":"invalid_request_error","code":"too_large"}}"#;
    let listener =
        Listener::start(&[Plan::Early(MIB, provider::json(413, too_large)), answers(200, TEXT)]).await;
    let world = World::start(&[listener.endpoint()]);
    let form = [MODEL, FILE, &sound(24 * MIB), END].concat();
    let mut caller = Caller::begin(&world, Some(form.len())).await;
    // It goes on sending, as simple clients do, until nobody takes it any more.
    caller.send(&form).await;
    let (status, text) = caller.answer().await;
    assert!(status == 413 && text.ends_with(too_large), "{text}");
    assert!(text.to_ascii_lowercase().contains("connection: close"));
    listener.reads.send_replace(true);
    eventually(|| listener.is_over(0)).await;
    assert!(listener.received(0) < 16 * MIB, "what was under way, and no more");
    assert_eq!(told(&world.metered(1).await[0]), (413, CallEnd::Completed, true, 0));
    // A connection that is still sending serves nobody else.
    assert_eq!(sent(&world, false, &[MODEL, FILE, b"a", END].concat()).await.0, 200);
    assert_eq!(listener.heard().len(), 2);
}

#[tokio::test]
async fn what_was_not_held_is_sent_once() {
    let fails = answers(500, r#"{"error":{"message":"x"}}"#);
    let (small, large) = ([MODEL, FILE, b"a", END].concat(), [MODEL, FILE, &sound(MIB), END].concat());
    let behind_file = [FILE, &sound(MIB / 4), b"\r\n", MODEL, b"--XX--\r\n"].concat();
    for (form, is_repeated) in [(&small, true), (&behind_file, true), (&large, false)] {
        let (one, other) = (
            Listener::start(std::slice::from_ref(&fails)).await,
            Listener::start(&[answers(200, TEXT)]).await,
        );
        let world = World::start(&[one.endpoint(), other.endpoint()]);
        let (status, _) = sent(&world, false, form).await;
        assert_eq!(status, if is_repeated { 200 } else { 500 });
        assert_eq!(other.heard().len(), usize::from(is_repeated));
        // Nobody has heard of what no connection was made for.
        drop(one);
        let nowhere = "http://127.0.0.1:9/v1".to_owned();
        let world = World::start(&[nowhere, other.endpoint()]);
        assert_eq!(sent(&world, true, form).await.0, 200);
        let (body, is_whole) = other.heard().last().unwrap().body();
        assert!(is_whole && body.len() == form.len() + RENAMED.len() - MODEL.len());
    }
}

#[tokio::test]
async fn a_file_before_its_model_is_held_and_counted() {
    let listener = Listener::start(&[answers(200, TEXT)]).await;
    let world = World::start(&[listener.endpoint()]);
    for is_chunked in [false, true] {
        let form = |length| [FILE, &sound(length), b"\r\n", MODEL, b"--XX--\r\n"].concat();
        let before = listener.heard().len();
        let (status, text) = sent(&world, is_chunked, &form(24 * MIB)).await;
        assert!(status == 503 && text.contains("worker_overloaded"), "{text}");
        assert_eq!(listener.heard().len(), before);
        // What was counted for it was given back.
        for _ in 0..4 {
            assert_eq!(sent(&world, is_chunked, &form(MIB / 2)).await.0, 200);
        }
        let heard = listener.heard().pop().unwrap();
        assert!(heard.head().contains("content-length: "), "its length is known by then");
    }
    let (status, text) = sent(&world, true, &[FILE, &sound(MIB / 2), END].concat()).await;
    assert!(status == 400 && text.contains("model is missing"), "{text}");
}

#[tokio::test]
async fn nothing_is_dialled_for_a_model_that_is_not_there() {
    let listener = Listener::start(&[answers(200, TEXT)]).await;
    let world = World::start(&[listener.endpoint()]);
    let strange = b"--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nstrange\r\n";
    let form = [&strange[..], FILE, &sound(2 * MIB), END].concat();
    let (status, text) = sent(&world, false, &form).await;
    assert!(status == 404 && text.contains("model_not_found"), "{text}");
    assert!(text.to_ascii_lowercase().contains("connection: close"));
    assert!(listener.heard().is_empty() && world.metered_now().is_empty());
}

#[tokio::test]
async fn connections_whose_provider_answers_early_and_reads_no_more_hold_up_no_call() {
    let early = |status| Plan::Early(1, provider::json(status, TEXT));
    let listener = Listener::start(&[early(413), early(413), early(200)]).await;
    let world = World::roomy(&[listener.endpoint()]);
    let content = "x".repeat(12 * MIB);
    let large = format!(r#"{{"model":"public","messages":[{{"role":"user","content":"{content}"}}]}}"#);
    let (one, other) = tokio::join!(world.call(&large), world.call(&large));
    assert_eq!((one.status, other.status), (413, 413));
    let small = world.call(r#"{"model":"public","messages":[]}"#);
    assert_eq!(timeout(Duration::from_secs(30), small).await.expect("it is not held up").status, 200);
    assert_eq!(listener.heard().len(), 3);
}
