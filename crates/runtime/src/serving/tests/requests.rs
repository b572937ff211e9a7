use futures_util::FutureExt as _;

use super::*;

#[tokio::test]
async fn requests_are_answered_one_after_the_other_on_one_connection() {
    let server = serve(HttpLimits::default());
    let mut caller = server.dial().await;
    for _again in 0..3 {
        caller.say("POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 5\r\n\r\nhello").await;
        assert!(caller.hears("read 5").await.starts_with("HTTP/1.1 200 OK"));
    }
    // Pipelined.
    caller.say("GET /peer HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let both = caller.hears("read 0").await;
    assert!(both.contains("nobody"), "{both}");
}

#[tokio::test]
async fn a_panic_is_answered_with_500_and_the_next_request_works() {
    let server = serve(HttpLimits::default());
    let mut caller = server.dial().await;
    caller.get("/panic").await;
    let answer = caller.hears("}}").await;
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    assert!(!answer.contains("prompt") && !answer.contains("x-said"), "{answer}");
    let error = error_of(&answer);
    assert_eq!((&error["type"], &error["code"]), (&"api_error".into(), &"internal_error".into()));
    caller.get("/").await;
    caller.hears("read 0").await;
}

#[tokio::test]
async fn what_is_told_takes_the_place_of_what_the_response_says_and_what_is_added_stands_beside_it() {
    let server = serve(HttpLimits::default());
    let mut caller = server.dial().await;
    caller.get("/told").await;
    let answer = caller.hears("\r\n\r\n").await;
    let said = |line: &str| answer.matches(&format!("\r\n{line}\r\n")).count();
    assert_eq!((said("x-said: ours"), said("x-said: theirs")), (1, 0), "{answer}");
    assert_eq!((said("server-timing: ours"), said("server-timing: theirs")), (1, 1), "{answer}");
    // It is one answer's.
    caller.get("/").await;
    let next = caller.hears("read 0").await;
    assert!(!next.contains("x-said") && !next.contains("server-timing"), "{next}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_never_taken_for_a_whole_one() {
    let server = serve(HttpLimits::default());
    let mut caller = server.dial().await;
    caller.get("/broken").await;
    let answer = caller.hears_all().await;
    // What came before may say why.
    assert!(answer.ends_with("4\r\nhalf\r\n"), "{answer}");
}

#[tokio::test]
async fn a_caller_that_is_still_sending_reads_the_answer() {
    let server = serve(HttpLimits::default());
    let mut caller = server.dial().await;
    // Far more than the buffers of both systems hold: written to the end only if somebody takes it.
    let length = 24 * 1024 * 1024;
    caller.say(&format!("POST /refuse HTTP/1.1\r\nhost: here\r\ncontent-length: {length}\r\n\r\n")).await;
    let chunk = vec![b'x'; 1024 * 1024];
    for _mebibyte in 0..24 {
        caller.stream.write_all(&chunk).await.expect("nobody resets the connection");
    }
    let answer = caller.hears_all().await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(error_of(&answer)["code"], "request_too_large");
}

#[tokio::test]
async fn a_caller_that_leaves_cancels_its_call() {
    struct Notices(tokio::sync::mpsc::UnboundedSender<()>);
    impl Service for Notices {
        async fn call(
            &self,
            _request: &mut IncomingRequest<RequestBody>,
            _info: &ConnectionInfo,
            _told: &mut Fields,
        ) -> Response<ResponseBody> {
            struct Gone(tokio::sync::mpsc::UnboundedSender<()>);
            impl Drop for Gone {
                fn drop(&mut self) {
                    let _sent = self.0.send(());
                }
            }
            let _gone = Gone(self.0.clone());
            self.0.send(()).unwrap();
            // Whoever gives way is not asked for its caller before it goes on.
            crate::turn::give_way_if(true).await;
            std::future::pending().await
        }
    }
    let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
    let (_signal, watch) = channel();
    let listen =
        Listen { address: "127.0.0.1:0".parse().unwrap(), transport: Transport::Plain, preface_from: None };
    let make = move |_core| Notices(sender.clone());
    let serving = serve_per_core(vec![listen], 1, HttpLimits::default(), watch, make).unwrap();
    let mut stream = TcpStream::connect(serving.addresses()[0]).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
    events.recv().await.expect("the call began");
    drop(stream);
    tokio::time::timeout(PATIENCE, events.recv()).await.expect("in time").expect("the call was dropped");
}

/// Notes whether anything had come at its caller's end before.
struct Log {
    caller: std::net::TcpStream,
    nothing_had_come: std::sync::mpsc::Sender<bool>,
}

impl WriteAhead for Log {
    fn write_ahead(&self) {
        let come = self.caller.peek(&mut [0]);
        let nothing = come.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        self.nothing_had_come.send(nothing).unwrap();
    }
}

#[tokio::test]
async fn what_is_written_ahead_of_an_answer_is_before_a_byte_of_it_has_gone() {
    let (callers, caller) = std::sync::mpsc::channel();
    let caller = std::sync::Arc::new(std::sync::Mutex::new(caller));
    let (nothing_had_come, was_ahead) = std::sync::mpsc::channel();
    let server = serve_by(HttpLimits::default(), move || {
        let (caller, nothing_had_come) = (caller.clone(), nothing_had_come.clone());
        By(move |_request| {
            let caller = caller.lock().unwrap().recv().unwrap();
            let log = Log { caller, nothing_had_come: nothing_had_come.clone() };
            let body =
                ResponseBody::from(Bytes::from_static(b"served")).behind(Ahead::new(std::rc::Rc::new(log)));
            async { Response::new(body) }.boxed_local()
        })
    });
    let mut caller = std::net::TcpStream::connect(server.address).unwrap();
    caller.set_read_timeout(Some(PATIENCE)).unwrap();
    for (method, expected) in [("GET", "served"), ("HEAD", "\r\n\r\n")] {
        let peeking = caller.try_clone().unwrap();
        peeking.set_nonblocking(true).unwrap();
        callers.send(peeking).unwrap();
        std::io::Write::write_all(
            &mut caller,
            format!("{method} / HTTP/1.1\r\nhost: here\r\n\r\n").as_bytes(),
        )
        .unwrap();
        assert!(was_ahead.recv_timeout(PATIENCE).unwrap(), "{method}");
        caller.set_nonblocking(false).unwrap();
        let (mut heard, mut room) = (Vec::new(), [0; 1024]);
        while !String::from_utf8_lossy(&heard).ends_with(expected) {
            let read = std::io::Read::read(&mut caller, &mut room).unwrap();
            assert!(read > 0, "closed");
            heard.extend_from_slice(&room[..read]);
        }
    }
}
