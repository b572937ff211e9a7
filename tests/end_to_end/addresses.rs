//! From where calls are taken, end to end: whose address counts, who may say which, and how soon it holds.

use std::{net::IpAddr, process::Command};

use bailiwick_domain::spiffe::ProcessRole;
use bailiwick_proto::admin::v1 as wire;
use bailiwick_runtime::identity::Connector;
use bailiwick_tests::{
    admin::{Admin, operator},
    calls::{Application, refusal},
    eventually,
    installation::{Installation, Process, Region},
    process::{Owned, binary, kill_hard},
};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::{Duration, timeout},
};

const HOME: &str = "eu-central-1";
/// Whoever calls from here may.
const ALLOWED: &str = "203.0.113.7";
/// And from here not.
const ELSEWHERE: &str = "198.51.100.1";
const RANGE: &str = "203.0.113.0/24";

/// An installation, an organization of it that takes calls from [`RANGE`] alone, and a key.
struct World {
    installation: Installation,
    admin: Admin,
    organization: String,
    key_id: String,
    application: Application,
    router: Router,
}

/// The router, as this test started it last.
struct Router {
    process: Process,
    owned: Option<Owned>,
}

impl Router {
    /// Starts it anew with these settings.
    async fn restart(&mut self, from: &str, hops: &str) {
        match self.owned.take() {
            Some(owned) => drop(owned),
            None => kill_hard(self.process.pid),
        }
        let gone = || async { std::net::TcpStream::connect(&self.process.address).is_err().then_some(()) };
        eventually("nobody listens there any more", gone).await;
        let environment = [
            ("BAILIWICK_ROUTER_SERVE__CLIENT_ADDRESS_FROM", from),
            ("BAILIWICK_ROUTER_SERVE__TRUSTED_HOPS", hops),
        ];
        self.owned = Some(Owned::start_with(&self.process.command, &self.process.log, &environment));
        let url = self.process.readyz();
        let ready = || async { reqwest::get(&url).await.ok()?.error_for_status().ok().map(drop) };
        eventually("the router is ready", ready).await;
    }
}

impl World {
    async fn start() -> Self {
        let installation = Installation::start();
        let region = installation.region(HOME);
        let admin = Admin::of(HOME, region);
        let organization = admin.new_organization(HOME).await;
        let (key_id, key) = admin.new_key(&organization).await;
        let application = Application::new(&region.base_url, &key);
        let router = Router { process: region.processes.router.clone(), owned: None };
        let world = Self { admin, organization, key_id, application, router, installation };
        world.command(&["org", "allow-from", "set", &world.organization, "--range", RANGE]).await;
        world
    }

    fn region(&self) -> &Region {
        self.installation.region(HOME)
    }

    /// This test's own address, as routers see it.
    fn own(&self) -> IpAddr {
        self.installation.outside
    }

    /// Runs the command as an operator does.
    fn bailiwick(&self, arguments: &[&str]) -> (bool, String, String) {
        let output = Command::new(binary("bailiwick"))
            .args(["--region", HOME, "--output", "json"])
            .args(arguments)
            .env("BAILIWICK_LOCAL", self.installation.folder().join("local.json"))
            .output()
            .expect("bailiwick starts");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (output.status.success(), text(output.stdout), text(output.stderr))
    }

    /// The same for a change, and waits until every worker has applied it.
    async fn command(&self, arguments: &[&str]) -> Value {
        let (succeeded, told, said) = self.bailiwick(arguments);
        assert!(succeeded, "{arguments:?}: {said}");
        let told: Value = serde_json::from_str(&told).expect("JSON");
        self.admin.applied(told["revision"].as_u64().expect("a revision")).await;
        told
    }

    /// Asks for the models, with these headers.
    async fn ask(&self, headers: &[(&str, &str)]) -> Seen {
        let url = format!("{}/models", self.application.base_url);
        let asked = self.application.http.get(url).bearer_auth(&self.application.key);
        let asked = headers.iter().fold(asked, |asked, (name, value)| asked.header(*name, *value));
        let answer = asked.send().await.expect("an answer");
        if answer.status() == 200 {
            return Seen::Served;
        }
        let refusal = refusal(answer).await;
        assert_eq!((refusal.status.as_u16(), refusal.code.as_str()), (403, "address_not_allowed"));
        assert!(!refusal.message.contains("/24"), "what is allowed is not told: {}", refusal.message);
        Seen::Refused(refusal.message)
    }

    fn request(&self, headers: &str) -> String {
        let key = &self.application.key;
        format!(
            "GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nconnection: close\r\n{headers}\r\n"
        )
    }

    /// Each worker, past the router, as an operator may.
    async fn workers_say(&self, headers: &str) -> Vec<String> {
        let connector =
            Connector::new(operator(HOME, self.region()), ProcessRole::Worker).expect("connector");
        let mut answers = Vec::new();
        for worker in &self.region().processes.workers {
            let stream =
                connector.connect(worker.address.parse().expect("an address")).await.expect("a worker");
            answers.push(exchange(stream, self.request(headers).as_bytes()).await);
        }
        answers
    }
}

#[derive(Debug, PartialEq)]
enum Seen {
    Served,
    Refused(String),
}

impl Seen {
    /// Whose address it is that was refused.
    fn refuses(&self, address: impl ToString) -> bool {
        let address = format!(" from {}: ", address.to_string());
        matches!(self, Self::Refused(message) if message.contains(&address))
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> String {
    stream.write_all(bytes).await.expect("taken");
    let mut answer = Vec::new();
    let _reset = timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await.expect("it ends");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_believed_of_a_caller_whom_no_hop_announces() {
    let mut world = World::start().await;
    let own = world.own();
    let claims: Vec<Vec<(&str, &str)>> = vec![
        vec![],
        vec![("x-forwarded-for", ALLOWED)],
        vec![("forwarded", "for=203.0.113.7")],
        vec![("x-real-ip", ALLOWED), ("true-client-ip", ALLOWED), ("cf-connecting-ip", ALLOWED)],
        vec![("x-bailiwick-client-address", ALLOWED)],
        vec![("X-Bailiwick-Client-Address", ALLOWED), ("x-bailiwick-client-address", ALLOWED)],
        vec![("connection", "x-bailiwick-client-address"), ("x-bailiwick-client-address", ALLOWED)],
    ];
    for claims in &claims {
        assert!(world.ask(claims).await.refuses(own), "{claims:?}");
    }
    // A worker believes a router's certificate alone, and an operator's is none.
    for answer in world.workers_say("x-bailiwick-client-address: 203.0.113.7\r\n").await {
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("address_not_allowed"), "{answer}");
    }
    // Somebody else stands in front: what we say is still not believed.
    for from in ["x_forwarded_for", "forwarded", "proxy"] {
        world.router.restart(from, "[\"192.0.2.0/24\"]").await;
        for claims in &claims {
            assert!(world.ask(claims).await.refuses(own), "{from}: {claims:?}");
        }
    }
    // A preface of a stranger's is no request.
    let preface = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\x7f\0\0\x01\xd4\x31\x01\xbb";
    let stream = TcpStream::connect(&world.router.process.address).await.expect("it listens");
    let answer = exchange(stream, &[&preface[..], world.request("").as_bytes()].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_hop_is_believed_about_the_address_that_it_saw() {
    let mut world = World::start().await;
    let own = world.own();
    let hops = format!("[\"{own}\", \"10.0.0.0/8\"]");
    let both = [("x-forwarded-for", ALLOWED), ("forwarded", "for=198.51.100.1")];
    world.router.restart("x_forwarded_for", &hops).await;
    for served in [
        &[("x-forwarded-for", ALLOWED)][..],
        &[("x-forwarded-for", "198.51.100.1, 203.0.113.7")],
        &[("x-forwarded-for", "203.0.113.7:4711, 10.9.9.9")],
        &[("x-forwarded-for", "::ffff:203.0.113.7")],
        &[("x-forwarded-for", "198.51.100.1"), ("x-forwarded-for", "203.0.113.7")],
        &both,
    ] {
        assert_eq!(world.ask(served).await, Seen::Served, "{served:?}");
    }
    for (headers, seen) in [
        // The leftmost, and the whole, are what a caller wrote.
        (&[("x-forwarded-for", "203.0.113.7, 198.51.100.1")][..], ELSEWHERE.to_owned()),
        (&[("x-forwarded-for", "203.0.113.7"), ("x-forwarded-for", "198.51.100.1")], ELSEWHERE.to_owned()),
        (&[("x-forwarded-for", "203.0.113.7, _hidden, 10.9.9.9")], "10.9.9.9".to_owned()),
        (&[("forwarded", "for=203.0.113.7")], own.to_string()),
        (&[("x-bailiwick-client-address", ALLOWED)], own.to_string()),
        (&[("x-forwarded-for", ELSEWHERE), ("x-bailiwick-client-address", ALLOWED)], ELSEWHERE.to_owned()),
    ] {
        assert!(world.ask(headers).await.refuses(&seen), "{headers:?}: {seen}");
    }
    world.router.restart("forwarded", &hops).await;
    assert!(world.ask(&both).await.refuses(ELSEWHERE));
    for forwarded in
        ["for=203.0.113.7", "for=\"198.51.100.1, for=\"203.0.113.7:4711\";proto=https, for=10.9.9.9"]
    {
        assert_eq!(world.ask(&[("forwarded", forwarded)]).await, Seen::Served, "{forwarded}");
    }
    world.router.restart("proxy", &hops).await;
    let say = async |preface: &[u8], headers: &str| {
        let stream = TcpStream::connect(&world.router.process.address).await.expect("it listens");
        exchange(stream, &[preface, world.request(headers).as_bytes()].concat()).await
    };
    let preface = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\x7f\0\0\x01\xd4\x31\x01\xbb";
    assert!(say(preface, "").await.starts_with("HTTP/1.1 200"));
    // Elsewhere, whatever its headers say.
    let elsewhere = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc6\x33\x64\x01\x7f\0\0\x01\xd4\x31\x01\xbb";
    let answer =
        say(elsewhere, "x-forwarded-for: 203.0.113.7\r\nx-bailiwick-client-address: 203.0.113.7\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains(ELSEWHERE), "{answer}");
    // A trusted hop that says nothing is not served at all.
    assert_eq!(say(b"", "").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_organization_and_key_allow_holds_at_every_worker_with_its_revision() {
    let world = World::start().await;
    let own = world.own().to_string();
    let every = async |status: &str| {
        let answers = world.workers_say("").await;
        assert!(answers.len() == 2 && answers.iter().all(|answer| answer.starts_with(status)), "{answers:?}");
    };
    let (served, refused) = ("HTTP/1.1 200", "HTTP/1.1 403");
    let id = world.key_id.as_str();
    for _again in 0..3 {
        every(refused).await;
        world
            .command(&["org", "allow-from", "set", &world.organization, "--range", RANGE, "--range", &own])
            .await;
        every(served).await;
        world.command(&["key", "update", id, "--allow-from", RANGE]).await;
        every(refused).await;
        world.command(&["org", "allow-from", "set", &world.organization, "--anywhere"]).await;
        every(refused).await;
        world.command(&["key", "update", id, "--allow-from", &own]).await;
        every(served).await;
        world.command(&["org", "allow-from", "set", &world.organization, "--range", RANGE]).await;
        every(refused).await;
        world.command(&["key", "update", id, "--allow-from-anywhere"]).await;
    }
    // A key can begin with its ranges.
    let named = ["key", "create", "--org", &world.organization, "--name", "narrow", "--allow-from", RANGE];
    let made = world.command(&named).await;
    assert_eq!(made["allowed_from"], serde_json::json!([RANGE]));

    // A mistyped range changes nothing, and nobody is locked out of the command.
    let (succeeded, _, said) =
        world.bailiwick(&["org", "allow-from", "set", &world.organization, "--range", "203.0.113.7/24"]);
    assert!(!succeeded && said.contains("say 203.0.113.0/24 for the whole range"), "{said}");
    let (_, shown, _) = world.bailiwick(&["org", "allow-from", "show", &world.organization]);
    assert!(shown.contains(RANGE), "{shown}");
    for nothing in [&["org", "allow-from", "set", &world.organization][..], &["key", "update", id]] {
        assert!(!world.bailiwick(nothing).0, "{nothing:?}: an empty list by mistake");
    }
    let (passed, explained, _) = world.bailiwick(&["config", "explain", id, "--from", ALLOWED]);
    assert!(passed && explained.contains("taken from 203.0.113.0/24 alone"), "{explained}");
    let (passed, explained, _) = world.bailiwick(&["config", "explain", id, "--from", ELSEWHERE]);
    assert!(!passed && explained.contains("address_not_allowed"), "{explained}");

    // The record says who, and how many; no address of anybody's stands on it.
    let request = wire::ListAuditRecordsRequest { organization_id: world.organization.clone(), page: None };
    let records =
        world.admin.audit().list_audit_records(request).await.expect("records").into_inner().records;
    let changes = records.iter().filter(|record| record.action.ends_with(".allowed_ranges"));
    let changes: Vec<&str> = changes.map(|record| record.subject.as_str()).collect();
    assert!(changes.len() >= 10 && changes.iter().all(|subject| !subject.contains("203.0")), "{changes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r8_addresses_of_callers_are_written_nowhere() {
    let mut world = World::start().await;
    let own = world.own();
    let caller = "203.0.113.77";
    world.router.restart("x_forwarded_for", &format!("[\"{own}\"]")).await;
    for seen in [caller, "198.51.100.77"] {
        let _answered = world.ask(&[("x-forwarded-for", seen)]).await;
        let body = serde_json::json!({"model": "none"});
        let url = format!("{}/chat/completions", world.application.base_url);
        let asked = world.application.http.post(url).bearer_auth(&world.application.key).json(&body);
        let _answered = asked.header("x-forwarded-for", seen).send().await.expect("an answer");
    }
    drop(world.router.owned.take());
    world.installation.stop();
    let seen = aho_corasick::AhoCorasick::new([caller, "198.51.100.77"]).expect("few");
    for file in files(world.installation.folder()) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        assert!(seen.find(&bytes).is_none(), "{} has a caller's address", file.display());
    }
}

/// All files below a folder.
fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
