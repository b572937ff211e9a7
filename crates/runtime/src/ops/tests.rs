use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use tokio::task::JoinSet;

use super::*;

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: ops\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn metrics_health_and_readiness_are_served() {
    let ops = Ops::new();
    let calls: Counter = Counter::default();
    ops.register(|registry| registry.register("calls", "Calls so far", calls.clone()));
    calls.inc();
    let configuration = ops.readiness().register("configuration");
    let journal = ops.readiness().register("journal");
    journal.ready();

    let server = ops.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = server.local_address().unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(server.run(std::future::pending()));

    let metrics = get(address, "/metrics").await;
    assert!(metrics.contains("application/openmetrics-text"), "{metrics}");
    assert!(metrics.contains("bailiwick_calls_total 1"), "{metrics}");
    assert!(metrics.trim_end().ends_with("# EOF"), "{metrics}");
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200 OK"));
    assert!(get(address, "/").await.starts_with("HTTP/1.1 404"));

    let waiting = get(address, "/readyz").await;
    assert!(waiting.starts_with("HTTP/1.1 503"), "{waiting}");
    assert!(waiting.ends_with(
        r#"{"ready":false,"conditions":[{"name":"configuration","ready":false,"reason":"starting"},{"name":"journal","ready":true}]}"#
    ), "{waiting}");

    configuration.ready();
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200 OK"));
    configuration.not_ready("the lease ran out");
    assert!(get(address, "/readyz").await.contains("the lease ran out"));
}
