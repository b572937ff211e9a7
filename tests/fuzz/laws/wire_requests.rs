//! Requests of callers, as HTTP/1.1 writes them, one behind the other.

use bailiwick_runtime::http1::{HeadLimits, IncomingRequest, RequestReader};

/// Small, so that the engine meets them.
const LIMITS: HeadLimits = HeadLimits { bytes: 512, fields: 8 };

/// However the bytes are cut, the same requests come out of them, and no bytes that did not go in, nor any twice.
pub fn wire_requests(bytes: &[u8]) {
    let (bytes, pieces) = super::cut(bytes);
    let (whole, cut) = (read(&[bytes]), read(&pieces));
    for read in [&whole, &cut] {
        assert!(read.requests.iter().map(|request| request.body.len()).sum::<usize>() <= bytes.len());
        assert!(read.requests.iter().rev().skip(1).all(|request| request.is_whole));
    }
    // What is no head is known for sure at its end only, and to who sees more of it at once, maybe before.
    assert!(whole.is_refused || !cut.is_refused);
    if !whole.is_refused {
        assert!(whole.requests == cut.requests);
        return;
    }
    // A body that is bad further on is refused there, and with its head where that came with it.
    let same = cut.requests.iter().zip(&whole.requests).take_while(|(one, other)| one == other).count();
    for read in [&whole, &cut] {
        let behind = read.requests.get(same..).unwrap_or_default();
        assert!(behind.len() <= 1 && behind.iter().all(|request| !request.is_whole));
    }
}

#[derive(Default)]
struct Read {
    requests: Vec<Seen>,
    is_refused: bool,
}

#[derive(PartialEq)]
struct Seen {
    head: String,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
    is_whole: bool,
}

impl Seen {
    fn new(request: &IncomingRequest<()>, body: &[u8], is_whole: bool) -> Self {
        let head = format!("{} {} {:?}", request.method(), request.uri(), request.version());
        let fields = request.headers().iter();
        let headers = fields.map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        Self { head, headers, body: body.to_vec(), is_whole }
    }
}

fn read(pieces: &[&[u8]]) -> Read {
    let (mut reader, mut read) = (RequestReader::new(LIMITS), Read::default());
    // Each takes the place of the one before, and nothing of that stays.
    let mut request = IncomingRequest::default();
    let mut keeps = true;
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        let mut came = *piece;
        if let Some(present) = read.requests.last_mut().filter(|last| !last.is_whole) {
            let Ok(data) = reader.take_body(came) else {
                read.is_refused = true;
                return read;
            };
            present.body.extend_from_slice(&data);
            present.is_whole = reader.is_over();
            if !present.is_whole || !reader.holds_more() {
                continue;
            }
            came = &[];
        }
        while keeps {
            match reader.take_head(came, &mut request) {
                Ok(None) => break,
                Err(_refused) => {
                    read.is_refused = true;
                    return read;
                }
                Ok(Some(head)) => {
                    keeps = head.keeps;
                    read.requests.push(Seen::new(&request, &head.first, reader.is_over()));
                    if !reader.is_over() || !reader.holds_more() {
                        break;
                    }
                    came = &[];
                }
            }
        }
    }
    read
}
