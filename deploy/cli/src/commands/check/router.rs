//! The region's router: present, and asking for a key.

use std::time::Duration;

use bailiwick_proto::admin::v1::{Worker, WorkerState};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::transport::Uri;

use crate::{
    checklist::{Checklist, Finding},
    contexts::Context,
};

const TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn check(context: &Context, workers: &[Worker], list: &mut Checklist<'_>) {
    let routers: Vec<&Worker> = workers.iter().filter(|worker| worker.role == "router").collect();
    let present = routers.iter().filter(|router| router.state() != WorkerState::Absent).count();
    list.check(
        "router is present",
        match present {
            0 => Err((
                format!("0 of {} connected", routers.len()),
                "see its log; a new one joins with: bailiwick region join-token --role router".to_owned(),
            )),
            present => Ok(format!("{present} of {} connected", routers.len())),
        },
    );
    const CHECK: &str = "router asks for a key";
    match context.router.as_deref().map(|url| (url, url.parse::<Uri>())) {
        None => list.skip(CHECK, "the context names no router"),
        Some((url, Ok(uri))) if uri.scheme_str() == Some("http") => {
            let answer = tokio::time::timeout(TIMEOUT, status(&uri)).await;
            list.check(CHECK, finding(url, answer.unwrap_or_else(|_late| Err("no answer in 5s".to_owned()))));
        }
        Some((url, Ok(_))) => list.skip(CHECK, &format!("{url}: only http is tried here; try it with curl")),
        Some((url, Err(_))) => {
            list.check(CHECK, Err((format!("{url:?} is not a URL"), "correct the context".to_owned())));
        }
    }
}

fn finding(url: &str, status: Result<u16, String>) -> Finding {
    let hint = || "does the router run there, and is it this region's?".to_owned();
    match status {
        Ok(401) => Ok(format!("{url}/models answers 401 without one")),
        Ok(other) => Err((format!("{url}/models answers {other} instead of 401"), hint())),
        Err(error) => Err((format!("{url}: {error}"), hint())),
    }
}

/// The status with which `<base URL>/models` answers somebody without a key.
async fn status(base: &Uri) -> Result<u16, String> {
    let host = base.host().unwrap_or_default();
    let port = base.port_u16().unwrap_or(80);
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    let mut stream = TcpStream::connect((plain, port)).await.map_err(|error| error.to_string())?;
    let path = base.path().trim_end_matches('/');
    let request = format!("GET {path}/models HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    // "HTTP/1.1 401" is all that is asked.
    let mut start = [0_u8; 12];
    stream.read_exact(&mut start).await.map_err(|error| error.to_string())?;
    let start = String::from_utf8_lossy(&start);
    let code = start.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    code.and_then(|code| code.parse().ok()).ok_or_else(|| "what answers is not HTTP".to_owned())
}
