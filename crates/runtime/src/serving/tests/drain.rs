use super::*;

#[tokio::test]
async fn a_drain_finishes_what_is_under_way_and_closes_the_rest() {
    let server = serve(HttpLimits::default());
    let mut idle = server.dial().await;
    idle.get("/").await;
    idle.hears("read 0").await;
    let mut streaming = server.dial().await;
    streaming.get("/slow").await;
    streaming.hears("chunk 0").await;

    server.signal.drain();
    assert_eq!(idle.hears_all().await, "");
    assert!(streaming.hears_all().await.ends_with("chunk 9\n\r\n0\r\n\r\n"));
    tokio::time::timeout(PATIENCE, server.signal.drained()).await.expect("in time");
    TcpStream::connect(server.address).await.expect_err("nobody listens any more");
    server.serving.run(std::future::pending()).await.expect("all cores ended in order");
}

#[tokio::test]
async fn a_caller_whose_request_is_on_its_way_is_answered_first() {
    let server = serve(HttpLimits::default());
    let mut caller = server.dial().await;
    caller.say("GET / HTTP/1.1\r\n").await;
    server.signal.drain();
    // Connections are told to finish before nobody listens any more.
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    caller.say("host: here\r\n\r\n").await;
    let answer = caller.hears_all().await;
    assert!(answer.contains("connection: close") && answer.ends_with("read 0"), "{answer}");
    tokio::time::timeout(PATIENCE, server.signal.drained()).await.expect("in time");
}

#[tokio::test]
async fn what_outlasts_the_drain_is_cut_off_when_the_process_stops() {
    let server = serve(HttpLimits::default());
    let mut caller = server.dial().await;
    caller.get("/hang").await;
    server.signal.drain();
    let stopped = std::future::ready(());
    tokio::time::timeout(PATIENCE, server.serving.run(stopped)).await.expect("in time").expect("in order");
    server.signal.drained().await;
    assert_eq!(caller.stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_core_that_crashes_is_noticed() {
    let (_signal, watch) = channel();
    let listen =
        Listen { address: "127.0.0.1:0".parse().unwrap(), transport: Transport::Plain, preface_from: None };
    let serving = serve_per_core(vec![listen], 2, HttpLimits::default(), watch, |core| {
        assert!(core.index == 0, "the second core cannot make its service");
        Echo
    });
    let outcome =
        tokio::time::timeout(PATIENCE, serving.unwrap().run(std::future::pending())).await.expect("in time");
    assert!(matches!(outcome, Err(ServingError::Crashed)));
}
