use super::*;

fn limits() -> HttpLimits {
    HttpLimits { header_bytes: 16 * 1024, ..HttpLimits::default() }
}

#[tokio::test]
async fn heads_up_to_the_limit_are_served_and_larger_ones_get_431() {
    let server = serve(limits());
    let mut caller = server.dial().await;
    let head =
        |padding: usize| format!("GET / HTTP/1.1\r\nhost: here\r\nx-pad: {}\r\n\r\n", "x".repeat(padding));
    caller.say(&head(15 * 1024)).await;
    caller.hears("read 0").await;

    caller.say(&head(17 * 1024)).await;
    let answer = caller.hears_all().await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let error = error_of(&answer);
    assert_eq!(
        (&error["type"], &error["code"]),
        (&"invalid_request_error".into(), &"request_headers_too_large".into())
    );
    assert!(error["message"].as_str().unwrap().contains("16384 bytes"), "{error}");
}

#[tokio::test]
async fn the_default_limits_are_64_kib_and_100_fields() {
    let server = serve(HttpLimits::default());
    let mut caller = server.dial().await;
    caller.say(&format!("GET / HTTP/1.1\r\nhost: a\r\nx-pad: {}\r\n\r\n", "x".repeat(60 * 1024))).await;
    caller.hears("read 0").await;
    let fields = |number: usize| (0..number).map(|field| format!("x-{field}: 1\r\n")).collect::<String>();
    caller.say(&format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", fields(99))).await;
    caller.hears("read 0").await;
    caller.say(&format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", fields(100))).await;
    assert_eq!(error_of(&caller.hears_all().await)["code"], "request_headers_too_large");

    let mut caller = server.dial().await;
    caller.say(&format!("GET / HTTP/1.1\r\nhost: a\r\nx-pad: {}\r\n\r\n", "x".repeat(65 * 1024))).await;
    assert_eq!(error_of(&caller.hears_all().await)["code"], "request_headers_too_large");
}

#[tokio::test]
async fn a_head_without_an_end_gets_431_and_the_caller_may_go_on_sending() {
    let server = serve(limits());
    let mut caller = server.dial().await;
    caller.say("GET / HTTP/1.1\r\nx-endless: ").await;
    for _mebibyte in 0..8 {
        caller.stream.write_all(&vec![b'x'; 1024 * 1024]).await.expect("nobody resets the connection");
    }
    assert_eq!(error_of(&caller.hears_all().await)["code"], "request_headers_too_large");
}

#[tokio::test]
async fn bytes_that_are_not_http_are_refused_in_shape() {
    let server = serve(HttpLimits::default());
    for garbage in
        ["\x16\x03\x01\x02\x00\x01garbage\r\n\r\n", "GET / HTTP/1.1\r\nbad header\r\n\r\n", "get\0\r\n\r\n"]
    {
        let mut caller = server.dial().await;
        caller.say(garbage).await;
        let answer = caller.hears_all().await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert_eq!(error_of(&answer)["code"], "malformed_request");
    }
    // After a good request on the same connection, too.
    let mut caller = server.dial().await;
    caller.get("/").await;
    caller.hears("read 0").await;
    caller.say("nonsense\r\n\r\n").await;
    assert_eq!(error_of(&caller.hears_all().await)["code"], "malformed_request");
}

#[tokio::test]
async fn slow_heads_and_idle_connections_are_closed_and_busy_ones_are_not() {
    let second = Duration::from_secs(1);
    let server = serve(HttpLimits { header_read_timeout: second, idle: second, ..HttpLimits::default() });
    let mut busy = server.dial().await;
    busy.get("/hang").await;
    let silent = server.dial().await;
    let mut slow = server.dial().await;
    slow.say("GET / HTT").await;
    let mut idle = server.dial().await;
    idle.get("/").await;
    idle.hears("read 0").await;

    assert_eq!(silent.hears_all().await, "");
    assert_eq!(slow.hears_all().await, "");
    assert_eq!(idle.hears_all().await, "");
    let nothing_came = busy.stream.try_read(&mut [0; 1]).expect_err("open and silent");
    assert_eq!(nothing_came.kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn a_later_head_is_waited_for_no_longer_than_the_first() {
    let server = serve(HttpLimits { header_read_timeout: Duration::from_secs(1), ..HttpLimits::default() });
    let mut slow = server.dial().await;
    slow.get("/").await;
    slow.hears("read 0").await;
    slow.say("GET / HTT").await;
    assert_eq!(slow.hears_all().await, "");
}

#[tokio::test]
async fn a_full_core_closes_the_longest_idle_connection_for_a_new_one() {
    let server = serve(HttpLimits { max_connections: 2, ..HttpLimits::default() });
    let mut busy = server.dial().await;
    busy.get("/hang").await;
    let mut idle = server.dial().await;
    idle.get("/").await;
    idle.hears("read 0").await;

    let mut third = server.dial().await;
    third.get("/").await;
    third.hears("read 0").await;
    assert_eq!(idle.hears_all().await, "");
}

#[tokio::test]
async fn what_is_accepted_does_not_wait_for_more_bytes() {
    let listener =
        crate::serving::listen::bind_per_core("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let _caller = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    assert!(listener.accept().await.unwrap().0.nodelay().unwrap());
}

#[tokio::test]
async fn an_address_that_is_taken_is_not_shared_by_accident() {
    let server = serve(HttpLimits::default());
    let (_signal, watch) = channel();
    let listen = Listen { address: server.address, transport: Transport::Plain, preface_from: None };
    let second = serve_per_core(vec![listen], 1, HttpLimits::default(), watch, |_core| Echo);
    assert!(matches!(second, Err(ServingError::Listen { .. })));
}
