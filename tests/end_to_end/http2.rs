//! Providers that speak TLS and HTTP/2, with a certificate that the worker's configuration names: streams by the hundred on few connections.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bailiwick_tests::{
    admin::Admin,
    calls::{Application, Caller, refusal},
    eventually,
    installation::{Installation, Region},
    network::Network,
    provider::Provider,
    secure::{self, Body, CA_FILE, Material},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    Response,
    body::Frame,
    header::{CONTENT_TYPE, HeaderValue},
};
use tokio::{sync::watch, task::JoinSet};

const REGION: &str = "eu-central-1";
const STREAMS: usize = 400;
const LEAVING: usize = 50;
/// Of two workers with a few cores each, and no more than a hundred streams on each.
const MOST_CONNECTIONS: usize = 40;
const FIRST: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word \"}}]}\n\n";
const REST: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"end\"},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";

/// What a provider has seen, and what its streams wait for.
#[derive(Clone)]
struct Held {
    connections: Arc<AtomicUsize>,
    /// Streams that were given up before their end.
    left: Arc<AtomicUsize>,
    release: watch::Sender<bool>,
}

/// Counts a stream that is dropped, unless it came to its end.
struct Open(Arc<AtomicUsize>, bool);

impl Open {
    fn end(mut self) {
        self.1 = true;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.1 {
            self.0.fetch_add(1, Relaxed);
        }
    }
}

impl Held {
    fn new() -> Self {
        Self { connections: Arc::default(), left: Arc::default(), release: watch::Sender::new(false) }
    }

    /// Begins each answer at once, and ends it when it is released.
    async fn provide(&self, address: SocketAddr, material: &Material<'_>) -> Provider {
        let (held, acceptor) = (self.clone(), material.acceptor().expect("made"));
        Provider::start(address, move |stream| {
            let held = held.clone();
            held.connections.fetch_add(1, Relaxed);
            secure::serve(stream, acceptor.clone(), move |_request| {
                let body = held.body();
                async move {
                    let mut response = Response::new(body);
                    let events = HeaderValue::from_static("text/event-stream");
                    response.headers_mut().insert(CONTENT_TYPE, events);
                    response
                }
            })
        })
        .await
    }

    fn body(&self) -> Body {
        let (open, mut released) = (Open(Arc::clone(&self.left), false), self.release.subscribe());
        let rest = async move {
            released.wait_for(|is_released| *is_released).await.expect("it is held");
            open.end();
            Bytes::from_static(REST.as_bytes())
        };
        let pieces = stream::iter([Bytes::from_static(FIRST.as_bytes())]).chain(stream::once(rest));
        StreamBody::new(pieces.map(|piece| Ok::<_, Infallible>(Frame::data(piece))).boxed()).boxed_unsync()
    }
}

async fn begin(region: &Region, number: usize) -> Vec<Caller> {
    let mut opening = JoinSet::new();
    for _ in 0..number {
        let (base_url, key) = (region.base_url.clone(), region.api_key.clone());
        opening.spawn(async move { Caller::begun(&base_url, &key, "held", "word ").await });
    }
    opening.join_all().await
}

async fn ended(admin: &Admin, region: &Region, end: &str) -> usize {
    let events = admin.events(&region.organization).await;
    events.iter().filter(|event| event.stream && event.end == end).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_streams_share_few_connections_and_each_fares_by_itself() {
    let folder = tempfile::tempdir().expect("folder");
    let (material, here) = (Material(folder.path()), Network::outside_of(Network::of_this_run().as_ref()));
    material.make(here).expect("certificate");
    let authority = material.authority();
    let installation = Installation::start_with(&[(CA_FILE, authority.to_str().expect("text"))]);
    let region = installation.region(REGION);
    let (held, address) = (Held::new(), SocketAddr::new(here, installation.spare_port));
    let provider = held.provide(address, &material).await;
    let admin = Admin::of(REGION, region);
    let credential = admin.new_credential(&region.organization, "key").await;
    let endpoint = format!("https://{address}/v1");
    let revision = admin.new_model(&region.organization, "held", &endpoint, "held", &credential).await;
    admin.applied(revision).await;

    let mut callers = begin(region, STREAMS).await;
    let connections = held.connections.load(Relaxed);
    assert!((1..=MOST_CONNECTIONS).contains(&connections), "{connections} connections");
    callers.truncate(STREAMS - LEAVING);
    eventually("the provider hears of those who left", || async {
        (held.left.load(Relaxed) == LEAVING).then_some(())
    })
    .await;
    held.release.send_replace(true);
    for caller in &mut callers {
        assert!(caller.read_to("data: [DONE]\n\n").await.expect("not cut"));
    }
    for (end, number) in [("completed", STREAMS - LEAVING), ("caller_left", LEAVING)] {
        eventually("each is metered as it ended", || async {
            (ended(&admin, region, end).await == number).then_some(())
        })
        .await;
    }

    // Connections that die take their own streams along, and are not used again.
    held.release.send_replace(false);
    let mut callers = begin(region, 20).await;
    drop(provider);
    for caller in &mut callers {
        assert!(!caller.read_to("data: [DONE]\n\n").await.unwrap_or(false), "it was cut");
    }
    eventually("each is metered as it ended", || async {
        (ended(&admin, region, "provider_failed").await == 20).then_some(())
    })
    .await;
    held.release.send_replace(true);
    let _provider = held.provide(address, &material).await;
    for mut caller in begin(region, 20).await {
        assert!(caller.read_to("data: [DONE]\n\n").await.expect("not cut"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_whom_only_its_own_authority_knows_is_not_spoken_to_unless_that_is_named() {
    let folder = tempfile::tempdir().expect("folder");
    let (material, here) = (Material(folder.path()), Network::outside_of(Network::of_this_run().as_ref()));
    material.make(here).expect("certificate");
    let installation = Installation::start();
    let region = installation.region(REGION);
    let (held, address) = (Held::new(), SocketAddr::new(here, installation.spare_port));
    let _provider = held.provide(address, &material).await;
    let admin = Admin::of(REGION, region);
    let credential = admin.new_credential(&region.organization, "key").await;
    let endpoint = format!("https://{address}/v1");
    admin.new_model(&region.organization, "held", &endpoint, "held", &credential).await;
    let refused = eventually("the model is there", || async {
        let answer = Application::of(region).chat("held", "hello", false).await.expect("an answer");
        (answer.status() != 404).then_some(answer)
    })
    .await;
    let refused = refusal(refused).await;
    assert_eq!((refused.status.as_u16(), refused.code.as_str()), (502, "provider_unreachable"));
    assert!(held.connections.load(Relaxed) > 0, "it was dialled");
}
