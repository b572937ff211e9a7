//! Connections of load balancers, and of whoever would like to be taken for one.

use super::*;

const PREFACE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\x7f\0\0\x01\xd4\x31\x01\xbb";

fn serve_behind(range: &str) -> Server {
    let (signal, watch) = channel();
    let hops = TrustedHops::new(vec![range.parse().unwrap()]);
    let address = "127.0.0.1:0".parse().unwrap();
    let listen = Listen { address, transport: Transport::Plain, preface_from: Some(hops) };
    let serving = serve_per_core(vec![listen], 1, HttpLimits::default(), watch, |_core| Echo).unwrap();
    Server { address: serving.addresses()[0], signal, serving }
}

async fn said(server: &Server, bytes: &[u8]) -> String {
    let mut caller = server.dial().await;
    caller.stream.write_all(bytes).await.unwrap();
    let mut heard = Vec::new();
    let reading = caller.stream.read_to_end(&mut heard);
    let _reset = tokio::time::timeout(PATIENCE, reading).await.expect("in time");
    String::from_utf8_lossy(&heard).into_owned()
}

const ASKED: &[u8] = b"GET /client HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn a_trusted_hop_says_whose_connection_it_is_and_is_not_served_without_saying() {
    let server = serve_behind("127.0.0.0/8");
    let told = said(&server, &[PREFACE, ASKED].concat()).await;
    assert!(told.ends_with("203.0.113.7"), "{told}");
    let itself = said(&server, &[b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", ASKED].concat()).await;
    assert!(itself.ends_with("nobody"), "{itself}");
    for without in [ASKED, &PREFACE[..20], b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0cxxxxxxxxxxxx", b""] {
        let mut caller = server.dial().await;
        caller.stream.write_all(without).await.unwrap();
        caller.stream.shutdown().await.unwrap();
        let mut heard = Vec::new();
        let _reset = tokio::time::timeout(PATIENCE, caller.stream.read_to_end(&mut heard)).await.unwrap();
        assert_eq!(heard, b"", "{without:?}");
    }
}

#[tokio::test]
async fn from_anybody_else_no_preface_is_taken() {
    let server = serve_behind("192.0.2.0/24");
    let told = said(&server, &[PREFACE, ASKED].concat()).await;
    assert!(told.starts_with("HTTP/1.1 400") && !told.contains("203.0.113.7"), "{told}");
    let served = said(&server, ASKED).await;
    assert!(served.ends_with("nobody"), "{served}");
}
