//! Requests, from their first byte to their last, one behind the other.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{Method, Uri, Version};

use super::head::Parsed;
use super::{Decoder, Framing, HeaderSection, Malformed, end_of_head};

/// So many fields have their place where they are parsed; more cost an allocation.
const FIELDS_IN_PLACE: usize = 100;
/// Longer ones `http::Uri` does not hold.
const LONGEST_TARGET: usize = u16::MAX as usize - 1;

/// A path of up to so many bytes is kept for the next request, which mostly is for the same.
const LONGEST_KEPT_PATH: usize = 64;

/// A request as it came.
#[derive(Default)]
pub struct IncomingRequest<B> {
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderSection,
    body: B,
}

impl<B> IncomingRequest<B> {
    /// Its method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Its target, in whichever form it was written (RFC 9112, section 3.2).
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// HTTP/1.0 or HTTP/1.1.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Its fields, all of them.
    pub fn headers(&self) -> &HeaderSection {
        &self.headers
    }

    /// The same, to be taken or left out.
    pub fn headers_mut(&mut self) -> &mut HeaderSection {
        &mut self.headers
    }

    /// What is still to be taken of its body.
    pub fn body(&self) -> &B {
        &self.body
    }

    /// The same, to be taken.
    pub fn body_mut(&mut self) -> &mut B {
        &mut self.body
    }

    /// Its body alone.
    pub fn into_body(self) -> B {
        self.body
    }

    /// Whether this is its target, letter by letter.
    fn is_for(&self, target: &str) -> bool {
        self.uri.authority().is_none()
            && self.uri.path_and_query().is_some_and(|known| known.as_str() == target)
    }
}

impl<B: Default> IncomingRequest<B> {
    /// Lets go of all that it said, but for a short path where nothing else was asked for: a query may be anything.
    pub fn let_go(&mut self) {
        let mut uri = std::mem::take(&mut self.uri);
        if uri.authority().is_some() || uri.query().is_some() || uri.path().len() > LONGEST_KEPT_PATH {
            uri = Uri::default();
        }
        *self = Self { uri, ..Self::default() };
    }
}

/// What another of the field's libraries read.
impl<B> From<http::Request<B>> for IncomingRequest<B> {
    fn from(request: http::Request<B>) -> Self {
        let (head, body) = request.into_parts();
        let headers = HeaderSection::from(&head.headers);
        Self { method: head.method, uri: head.uri, version: head.version, headers, body }
    }
}

/// Bounds of a request's head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// In all.
    pub bytes: usize,
    /// How many fields.
    pub fields: usize,
}

/// Why a head was refused. Nothing that follows it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is none.
    #[error("the head is malformed")]
    Malformed,
    /// It has more bytes or more fields than it may.
    #[error("the head is too large")]
    TooLarge,
    /// Its target is too long.
    #[error("the target is too long")]
    TargetTooLong,
}

impl From<Malformed> for Refused {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

/// What a head said of the body and the connection, and what came of the body with it.
pub struct Received {
    /// The body's beginning.
    pub first: Bytes,
    /// Bytes of the body, where they are known.
    pub length: Option<u64>,
    /// Whether the caller may send another request behind it.
    pub keeps: bool,
    /// Whether the caller waits for a `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

/// Reads what one caller sends. A request's body is taken to its end before the next one's head is. It holds what was given it once, and a head at the most.
pub struct RequestReader {
    limits: HeadLimits,
    /// What came, and is not taken yet: of a head that is not whole, or behind a body.
    held: Vec<u8>,
    /// Where what is not taken begins in it.
    at: usize,
    /// How much from there was looked at, for the end of a head.
    seen: usize,
    body: Decoder,
}

impl RequestReader {
    /// Before the first request.
    pub fn new(limits: HeadLimits) -> Self {
        Self { limits, held: Vec::new(), at: 0, seen: 0, body: Decoder::of_length(0) }
    }

    /// Takes what came of a head, behind what is held. `None`: it is not whole. It takes the place of what is in `request`, and is written there: handed from one to the
    /// other, it would be copied each time.
    ///
    /// # Errors
    /// There is no reading on, and what is in `request` is no request.
    pub fn take_head<B>(
        &mut self,
        came: &[u8],
        request: &mut IncomingRequest<B>,
    ) -> Result<Option<Received>, Refused> {
        let (mut held, at) = (std::mem::take(&mut self.held), std::mem::take(&mut self.at));
        let is_held = at < held.len();
        if is_held {
            held.extend_from_slice(came);
        }
        let bytes = if is_held { held.get(at..).unwrap_or_default() } else { came };
        let blank = empty_lines(bytes);
        let bytes = bytes.get(blank..).unwrap_or_default();
        let seen = std::mem::take(&mut self.seen).saturating_sub(blank);
        let Some(head) = self.find_head(bytes, seen, request)? else {
            if is_held {
                drop(held.drain(..at + blank));
            } else {
                held = bytes.to_vec();
            }
            self.seen = held.len();
            self.held = held;
            return Ok(None);
        };
        let Head { bytes: end, mut body, keeps, expects_continue } = head;
        let behind = bytes.get(end..).unwrap_or_default();
        let length = body.left();
        let (first, taken) = body.take(behind)?;
        self.body = body;
        let rest = behind.get(taken..).unwrap_or_default();
        if !rest.is_empty() {
            if is_held {
                self.at = held.len() - rest.len();
            } else {
                held = rest.to_vec();
            }
            self.held = held;
        }
        Ok(Some(Received { first, length, keeps, expects_continue }))
    }

    /// The head at the start of `bytes`, of which the first `seen` were looked at before. What comes at once is parsed at once, which tells where it ends; what comes in pieces, when all of it
    /// is here. So whoever sends what is no head hears of it with the first piece.
    fn find_head<B>(
        &self,
        bytes: &[u8],
        seen: usize,
        request: &mut IncomingRequest<B>,
    ) -> Result<Option<Head>, Refused> {
        let HeadLimits { bytes: most, fields } = self.limits;
        if seen == 0 && bytes.len() <= most {
            return read(bytes, request, fields);
        }
        let end = end_of_head(bytes, seen);
        if end.unwrap_or(bytes.len()) > most {
            return Err(Refused::TooLarge);
        }
        end.and_then(|end| bytes.get(..end)).map_or(Ok(None), |head| read(head, request, fields))
    }

    /// Takes what came of the body, and holds what stands behind it.
    ///
    /// # Errors
    /// It is none. There is no reading on.
    pub fn take_body(&mut self, came: &[u8]) -> Result<Bytes, Malformed> {
        let (data, taken) = self.body.take(came)?;
        self.held.extend_from_slice(came.get(taken..).unwrap_or_default());
        Ok(data)
    }

    /// Holds what came while nobody read.
    pub fn hold(&mut self, came: &[u8]) {
        self.held.extend_from_slice(came);
    }

    /// Whether the body has come to its end.
    pub fn is_over(&self) -> bool {
        self.body.is_over()
    }

    /// Whether anything is held.
    pub fn holds_more(&self) -> bool {
        self.at < self.held.len()
    }
}

/// A head, but for what is in the request.
struct Head {
    /// How many it has.
    bytes: usize,
    body: Decoder,
    keeps: bool,
    expects_continue: bool,
}

/// Bytes of empty lines, which a reader steps over before a request (RFC 9112, section 2.2).
fn empty_lines(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let [b'\r', b'\n', behind @ ..] = rest {
        rest = behind;
    }
    bytes.len() - rest.len()
}

/// Reads the head at the start of `bytes` into `request`. `None`: it is not whole.
fn read<B>(bytes: &[u8], request: &mut IncomingRequest<B>, fields: usize) -> Result<Option<Head>, Refused> {
    // The parser would step over it.
    if bytes.starts_with(b"\n") {
        return Err(Refused::Malformed);
    }
    let mut in_place = [const { MaybeUninit::uninit() }; FIELDS_IN_PLACE];
    let mut allocated = Vec::new();
    let room = match in_place.get_mut(..fields) {
        Some(room) => room,
        None => {
            allocated.resize_with(fields, MaybeUninit::uninit);
            allocated.as_mut_slice()
        }
    };
    let mut parsed = httparse::Request::new(&mut []);
    let head = match parsed.parse_with_uninit_headers(bytes, room) {
        Ok(httparse::Status::Complete(length)) => bytes.get(..length).unwrap_or_default(),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Refused::TooLarge),
        Err(_) => return Err(Refused::Malformed),
    };
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else { return Err(Refused::Malformed) };
    if target.len() > LONGEST_TARGET {
        return Err(Refused::TargetTooLong);
    }
    let framing = request.headers.read(&Parsed::new(head), parsed.headers)?;
    if !request.headers.is_of_whole_lines() {
        return Err(Refused::Malformed);
    }
    let is_1_1 = parsed.version == Some(1);
    let body = decoder(&framing, is_1_1)?;
    // RFC 9112, section 3.2.
    if framing.hosts > 1 || is_1_1 && framing.hosts == 0 {
        return Err(Refused::Malformed);
    }
    request.method = Method::from_bytes(method.as_bytes()).map_err(|_| Refused::Malformed)?;
    if !request.is_for(target) {
        request.uri = Uri::try_from(target).map_err(|_| Refused::Malformed)?;
    }
    request.version = if is_1_1 { Version::HTTP_11 } else { Version::HTTP_10 };
    let keeps = !framing.closes && (is_1_1 || framing.keeps_alive);
    let (bytes, expects_continue) = (head.len(), is_1_1 && framing.expects_continue);
    Ok(Some(Head { bytes, body, keeps, expects_continue }))
}

/// What reads the body: RFC 9112, section 6.3, where a server may refuse what is said twice, and here does.
fn decoder(framing: &Framing, is_1_1: bool) -> Result<Decoder, Malformed> {
    match (framing.is_chunked, framing.length) {
        (true, Some(_)) => Err(Malformed),
        // HTTP/1.0 knows none.
        (true, None) if !is_1_1 => Err(Malformed),
        (true, None) => Ok(Decoder::chunked()),
        (false, _) if framing.repeats_length => Err(Malformed),
        (false, length) => Ok(Decoder::of_length(length.unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests;
