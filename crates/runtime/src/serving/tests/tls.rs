use std::sync::{Arc, Mutex};

use bailiwick_domain::spiffe::ProcessRole;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::identity::tests::authority::Authority;
use bailiwick_domain::time::{Clock, SystemClock};

use crate::identity::{Acceptor, Connector, Identity, Revocation};
use crate::serving::registry::SWEEP_INTERVAL;

fn serve_tls(authority: &Authority) -> (Signal, Serving) {
    serve_as(&authority.identity(ProcessRole::Worker))
}

fn serve_as(worker: &Identity) -> (Signal, Serving) {
    let (signal, watch) = channel();
    let tls = Acceptor::new(worker.clone(), &[ProcessRole::Router]).unwrap();
    let listen = Listen {
        address: "127.0.0.1:0".parse().unwrap(),
        transport: Transport::Mutual(tls),
        preface_from: None,
    };
    (signal, serve_per_core(vec![listen], 2, HttpLimits::default(), watch, |_core| Echo).unwrap())
}

async fn ask(serving: &Serving, connector: &Connector) -> std::io::Result<String> {
    let mut stream = connector.connect(serving.addresses()[0]).await?;
    stream.write_all(b"GET /peer HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn services_know_the_verified_caller() {
    let authority = Authority::of("eu-central-1");
    let (_signal, serving) = serve_tls(&authority);
    let router = Connector::new(authority.identity(ProcessRole::Router), ProcessRole::Worker).unwrap();
    let answer = ask(&serving, &router).await.unwrap();
    assert!(answer.ends_with("spiffe://eu-central-1.local/router/one"), "{answer}");
}

#[tokio::test]
async fn r3_a_router_of_another_region_reaches_no_worker() {
    let (ours, theirs) = (Authority::of("eu-central-1"), Authority::of("us-east-1"));
    let (_signal, serving) = serve_tls(&ours);
    let foreign = Connector::new(theirs.identity(ProcessRole::Router), ProcessRole::Worker).unwrap();
    ask(&serving, &foreign).await.expect_err("refused");
    let wrong_role = Connector::new(ours.identity(ProcessRole::Operator), ProcessRole::Worker).unwrap();
    ask(&serving, &wrong_role).await.expect_err("refused");
}

#[tokio::test]
async fn a_connection_ends_with_its_callers_certificate() {
    let authority = Authority::of("eu-central-1");
    let (_signal, serving) = serve_tls(&authority);
    let router = authority.short_lived(ProcessRole::Router, Duration::from_secs(2));
    let connector = Connector::new(router, ProcessRole::Worker).unwrap();
    let mut stream = connector.connect(serving.addresses()[0]).await.unwrap();
    stream.write_all(b"GET /peer HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    let closed = stream.read_to_string(&mut answer);
    tokio::time::timeout(PATIENCE, closed).await.expect("in time").expect("in order");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn r3_a_connection_ends_when_its_caller_is_revoked() {
    let authority = Authority::of("eu-central-1");
    let worker = authority.identity(ProcessRole::Worker);
    let (_signal, serving) = serve_as(&worker);
    let connector = Connector::new(authority.identity(ProcessRole::Router), ProcessRole::Worker).unwrap();
    let mut stream = connector.connect(serving.addresses()[0]).await.unwrap();
    stream.write_all(b"GET /peer HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
    stream.read_u8().await.expect("answered");

    let now = SystemClock.now();
    let holder = authority.name(ProcessRole::Router).parse().unwrap();
    let expires = now.saturating_add(Duration::from_secs(60));
    assert!(worker.revocations().learn([Revocation { holder, issued_until: now, expires }], now));
    let mut rest = Vec::new();
    let closed = stream.read_to_end(&mut rest);
    let _how = tokio::time::timeout(PATIENCE, closed).await.expect("in time");
    ask(&serving, &connector).await.expect_err("and none is opened any more");
}

/// Streams what it is given, for as long as it is given something; once.
struct Dictated(Arc<Mutex<Option<UnboundedReceiver<&'static str>>>>);

impl Service for Dictated {
    async fn call(
        &self,
        request: &mut IncomingRequest<RequestBody>,
        _connection: &ConnectionInfo,
        _told: &mut Fields,
    ) -> Response<ResponseBody> {
        if request.uri().path() != "/dictated" {
            return Response::new(Bytes::from_static(b"here").into());
        }
        let words = self.0.lock().unwrap().take().expect("the first call");
        let words = stream::unfold(words, |mut words| async move {
            let word = words.recv().await?;
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(word.as_bytes()))), words))
        });
        Response::new(ResponseBody::stream(StreamBody::new(Box::pin(words))))
    }
}

#[tokio::test]
async fn a_call_that_streams_when_its_callers_certificate_expires_is_finished_and_is_the_last() {
    let authority = Authority::of("eu-central-1");
    let (dictate, words) = unbounded_channel();
    let words = Arc::new(Mutex::new(Some(words)));
    let (_signal, watch) = channel();
    let tls = Acceptor::new(authority.identity(ProcessRole::Worker), &[ProcessRole::Router]).unwrap();
    let listen = Listen {
        address: "127.0.0.1:0".parse().unwrap(),
        transport: Transport::Mutual(tls),
        preface_from: None,
    };
    let dictated = move |_core| Dictated(Arc::clone(&words));
    let serving = serve_per_core(vec![listen], 1, HttpLimits::default(), watch, dictated).unwrap();
    let router = authority.short_lived(ProcessRole::Router, Duration::from_secs(2));
    // Two sweeps later, it has been judged.
    let judged = router.expires().saturating_add(SWEEP_INTERVAL.saturating_mul(2));
    let connector = Connector::new(router, ProcessRole::Worker).unwrap();

    let mut stream = connector.connect(serving.addresses()[0]).await.unwrap();
    stream.write_all(b"GET /dictated HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
    let (mut heard, mut said) = (Vec::new(), 0);
    while SystemClock.now() < judged || said < 3 {
        dictate.send("word ").unwrap();
        said += 1;
        let heard_of_it = async {
            while String::from_utf8_lossy(&heard).matches("word ").count() < said {
                assert_ne!(stream.read_buf(&mut heard).await.unwrap(), 0, "cut off after {said} words");
            }
        };
        tokio::time::timeout(PATIENCE, heard_of_it).await.expect("in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let refused = ask(&serving, &connector).await.expect_err("no new connection any more");
    assert!(refused.to_string().contains("CertificateExpired"), "{refused}");

    drop(dictate);
    let rest = stream.read_to_end(&mut heard);
    tokio::time::timeout(PATIENCE, rest).await.expect("in time").expect("closed in order");
    assert!(heard.ends_with(b"\r\n0\r\n\r\n"), "the body came to its end");
}
