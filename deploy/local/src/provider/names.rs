//! A name server of this installation's workers, for names under `verify.test` that stand for what a provider's owner could do with his own. `verify isolation` has
//! deployments there: none of these answers may make a worker dial anything but what the egress policy admits.
//!
//! The first part of a name chooses the answer, whatever stands between: `loopback`, `private`, `link-local`, `metadata`, and `rebind`, which is the provider's own address and 127.0.0.2 in
//! turn. Nothing is to be kept: the answers' time to live is 0.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{RData, Record, RecordType},
};
use tokio::net::UdpSocket;

/// Names that stand for something.
const BELOW: &str = ".verify.test";
/// Names whose turns are counted; more are forgotten all at once.
const MOST_NAMES: usize = 10_000;
const LARGEST_QUESTION_BYTES: usize = 4096;

/// Answers for ever.
pub(crate) async fn serve(listen: SocketAddr, own: Ipv4Addr) -> std::io::Result<()> {
    let socket = UdpSocket::bind(listen).await?;
    let (mut buffer, mut turns) = (vec![0; LARGEST_QUESTION_BYTES], HashMap::new());
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await?;
        let question = buffer.get(..length).and_then(|bytes| Message::from_vec(bytes).ok());
        let answered = question.and_then(|question| answer(&question, own, &mut turns)?.to_vec().ok());
        if let Some(bytes) = answered {
            // Who has gone meanwhile asks again.
            let _ = socket.send_to(&bytes, from).await;
        }
    }
}

/// `None`: that was no question.
fn answer(asked: &Message, own: Ipv4Addr, turns: &mut HashMap<String, usize>) -> Option<Message> {
    let query = asked.queries.first()?.clone();
    let name = query.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
    let mut answer = Message::response(asked.metadata.id, asked.metadata.op_code);
    answer.metadata.recursion_desired = asked.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    match address(&name, query.query_type(), own, turns) {
        Some(Some(address)) => {
            answer.add_answer(Record::from_rdata(
                query.name().clone(),
                0,
                RData::from(IpAddr::from(address)),
            ));
        }
        // The name has other addresses than these.
        Some(None) => {}
        None => answer.metadata.response_code = ResponseCode::NXDomain,
    }
    answer.add_query(query);
    Some(answer)
}

fn address(
    name: &str,
    kind: RecordType,
    own: Ipv4Addr,
    turns: &mut HashMap<String, usize>,
) -> Option<Option<Ipv4Addr>> {
    let below = name.strip_suffix(BELOW)?;
    let behaviour = below.split('.').next().unwrap_or_default();
    let address = match behaviour {
        "loopback" => Ipv4Addr::LOCALHOST,
        "private" => Ipv4Addr::new(10, 0, 0, 1),
        "link-local" => Ipv4Addr::new(169, 254, 1, 1),
        "metadata" => Ipv4Addr::new(169, 254, 169, 254),
        "rebind" if kind == RecordType::A => turn(name, own, turns),
        "rebind" => Ipv4Addr::LOCALHOST,
        _ => return None,
    };
    Some(Some(address).filter(|_| kind == RecordType::A))
}

fn turn(name: &str, own: Ipv4Addr, turns: &mut HashMap<String, usize>) -> Ipv4Addr {
    if turns.len() >= MOST_NAMES {
        turns.clear();
    }
    let asked = turns.entry(name.to_owned()).or_default();
    *asked += 1;
    if *asked % 2 == 1 { own } else { Ipv4Addr::new(127, 0, 0, 2) }
}
