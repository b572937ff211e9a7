use std::{
    collections::HashMap,
    net::{Ipv4Addr, Ipv6Addr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bailiwick_domain::egress::{EgressPolicy, EgressRule, Residency, Target};
use hickory_resolver::proto::{
    op::Message,
    rr::{RData, Record, RecordType},
};
use tokio::{
    net::{TcpListener, UdpSocket},
    task::JoinSet,
};

use super::*;
use crate::configuration::ResolverSection;

/// What a name server says to the first question, to the second, …; the last answer is repeated.
type Script = Vec<Vec<IpAddr>>;

/// A name server, as a provider's owner can run one: it says what it likes, each time anew.
struct NameServer {
    address: SocketAddr,
    asked: Arc<Mutex<HashMap<(String, RecordType), usize>>>,
    _serving: JoinSet<()>,
}

impl NameServer {
    async fn start(names: impl IntoIterator<Item = (&str, Script)>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let names: HashMap<String, Script> =
            names.into_iter().map(|(name, script)| (format!("{name}."), script)).collect();
        let asked: Arc<Mutex<HashMap<_, usize>>> = Arc::default();
        let counts = Arc::clone(&asked);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let asked = Message::from_vec(&buffer[..length]).unwrap();
                let answer = answer(&asked, &names, &mut counts.lock().unwrap());
                socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
            }
        });
        Self { address, asked, _serving: serving }
    }

    fn asked(&self, name: &str, kind: RecordType) -> usize {
        self.asked.lock().unwrap().get(&(format!("{name}."), kind)).copied().unwrap_or_default()
    }

    fn resolver(&self, ttl: Duration) -> Resolver {
        let timeout = Duration::from_secs(2);
        let (min_ttl, max_ttl) = (ttl, ttl);
        Resolver::new(&ResolverSection { nameservers: vec![self.address], timeout, min_ttl, max_ttl })
            .unwrap()
    }
}

fn answer(
    asked: &Message,
    names: &HashMap<String, Script>,
    counts: &mut HashMap<(String, RecordType), usize>,
) -> Message {
    let query = asked.queries.first().unwrap().clone();
    let name = query.name().to_string().to_ascii_lowercase();
    let count = counts.entry((name.clone(), query.query_type())).or_default();
    let script = &names[&name];
    let addresses = script.get(*count).or(script.last()).unwrap();
    *count += 1;
    let mut answer = Message::response(asked.metadata.id, asked.metadata.op_code);
    let of_kind = addresses.iter().filter(|a| a.is_ipv4() == (query.query_type() == RecordType::A));
    answer.answers = of_kind.map(|a| Record::from_rdata(query.name().clone(), 0, RData::from(*a))).collect();
    answer.add_query(query);
    answer
}

fn admitted(host: &str, ranges: &[&str]) -> AdmittedHost<'static> {
    let rule = EgressRule {
        pattern: host.parse().unwrap(),
        jurisdiction: "eu".parse().unwrap(),
        private_ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
    };
    let policy = EgressPolicy::new("eu".parse().unwrap(), [rule]).unwrap();
    let target = Target { host: &host.into(), path: "", model: "" };
    policy.admit(&Residency::Region, target).unwrap().into_owned()
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const METADATA: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));
const NO_TTL: Duration = Duration::ZERO;

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn is_egress<T>(outcome: Result<T, DialError>) -> bool {
    matches!(outcome, Err(DialError::Egress(EgressRefused::Address(_))))
}

#[tokio::test]
async fn r7_the_answer_that_was_judged_is_the_one_that_is_dialled() {
    let name = "rebind.test";
    // Good when it is looked at, bad when it is looked at again.
    let server = NameServer::start([(name, vec![vec![LOOPBACK], vec![METADATA]])]).await;
    let resolver = server.resolver(NO_TTL);
    let host = admitted(name, &["127.0.0.0/8"]);
    let (_listener, port) = listener().await;
    let (stream, address) = dial(&resolver, &host, port).await.expect("the first answer is dialled");
    assert_eq!((stream.peer_addr().unwrap().ip(), address.ip()), (LOOPBACK, LOOPBACK));
    assert_eq!(server.asked(name, RecordType::A), 1, "nothing is resolved between judging and dialling");
    assert!(is_egress(dial(&resolver, &host, port).await), "the next answer is judged as well");
    assert_eq!(server.asked(name, RecordType::A), 2);
}

#[tokio::test]
async fn r7_a_cached_answer_is_judged_each_time() {
    let name = "cached.test";
    let server = NameServer::start([(name, vec![vec![LOOPBACK]])]).await;
    let resolver = server.resolver(Duration::from_secs(60));
    let (_listener, port) = listener().await;
    assert!(dial(&resolver, &admitted(name, &["127.0.0.0/8"]), port).await.is_ok());
    // The policy has changed meanwhile.
    assert!(is_egress(dial(&resolver, &admitted(name, &[]), port).await));
    assert_eq!(server.asked(name, RecordType::A), 1, "the answer came from the cache");
}

#[tokio::test]
async fn r7_what_a_name_resolves_to_is_judged_whatever_the_name_says() {
    let private: [IpAddr; 6] = [
        LOOPBACK,
        METADATA,
        Ipv4Addr::new(10, 0, 0, 1).into(),
        Ipv6Addr::LOCALHOST.into(),
        "fe80::1".parse().unwrap(),
        "::ffff:127.0.0.1".parse().unwrap(),
    ];
    let names: Vec<String> = (0..private.len()).map(|index| format!("private{index}.test")).collect();
    let scripts = names.iter().zip(private).map(|(name, address)| (name.as_str(), vec![vec![address]]));
    let server = NameServer::start(scripts).await;
    let resolver = server.resolver(NO_TTL);
    let (listener, port) = listener().await;
    for name in &names {
        assert!(is_egress(dial(&resolver, &admitted(name, &[]), port).await), "{name}");
    }
    // The same of addresses that stand in the endpoint itself, and of names that need no name server.
    for host in ["127.0.0.1", "::1", "localhost"] {
        assert!(is_egress(dial(&resolver, &admitted(host, &[]), port).await), "{host}");
    }
    assert!(dial(&resolver, &admitted("localhost", &["127.0.0.0/8"]), port).await.is_ok());
    listener.accept().await.expect("the one that was allowed");
}

#[tokio::test]
async fn r7_of_several_addresses_only_admitted_ones_are_dialled() {
    let name = "mixed.test";
    let server = NameServer::start([(name, vec![vec![METADATA, LOOPBACK]])]).await;
    let (_listener, port) = listener().await;
    let (_, address) =
        dial(&server.resolver(NO_TTL), &admitted(name, &["127.0.0.0/8"]), port).await.expect("one is left");
    assert_eq!(address.ip(), LOOPBACK);
}

#[tokio::test]
async fn an_address_that_fails_does_not_keep_the_next_one_waiting() {
    let name = "two.test";
    let other = IpAddr::from([127, 0, 0, 2]);
    let server = NameServer::start([(name, vec![vec![other, LOOPBACK]])]).await;
    // Nobody listens at the first.
    let (_listener, port) = listener().await;
    let host = admitted(name, &["127.0.0.0/8"]);
    let (_, address) = dial(&server.resolver(NO_TTL), &host, port).await.expect("reached");
    assert_eq!(address.ip(), LOOPBACK);
}

#[tokio::test]
async fn whoever_asks_for_one_name_at_once_shares_the_question() {
    let name = "shared.test";
    let server = NameServer::start([(name, vec![vec![LOOPBACK]])]).await;
    let resolver = server.resolver(NO_TTL);
    let answered = AtomicUsize::new(0);
    let asking = (0..50).map(|_| async {
        assert_eq!(*resolver.resolve(name).await.unwrap(), [LOOPBACK]);
        answered.fetch_add(1, Ordering::Relaxed);
    });
    futures_util::future::join_all(asking).await;
    assert_eq!(answered.into_inner(), 50);
    assert_eq!(server.asked(name, RecordType::A), 1);
    resolver.resolve(name).await.unwrap();
    assert_eq!(server.asked(name, RecordType::A), 2, "what is asked later is asked anew");
}

#[tokio::test]
async fn a_name_server_that_does_not_answer_is_waited_for_within_bounds() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let settings = ResolverSection {
        nameservers: vec![silent.local_addr().unwrap()],
        timeout: Duration::from_millis(20),
        min_ttl: NO_TTL,
        max_ttl: NO_TTL,
    };
    let resolver = Resolver::new(&settings).unwrap();
    let waited = tokio::time::timeout(Duration::from_secs(10), resolver.resolve("silent.test")).await;
    assert!(waited.expect("within bounds").is_err());
}

#[test]
fn the_families_take_turns() {
    let [four, other] = [LOOPBACK, METADATA];
    let six = IpAddr::from(Ipv6Addr::LOCALHOST);
    assert_eq!(interleaved(&[four, other, six]), [six, four, other]);
    assert_eq!(interleaved(&[]), Vec::<IpAddr>::new());
}
