//! Heads of messages: where they end, their fields, and what those say of the body.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::Malformed;

/// Where the head at the start of `bytes` ends, of which the first `seen` were looked at before.
pub fn end_of_head(bytes: &[u8], seen: usize) -> Option<usize> {
    // What stood at the end may be the beginning of an empty line.
    let from = seen.saturating_sub("\n\r".len());
    memchr::memchr_iter(b'\n', bytes.get(from..)?).find_map(|at| {
        let behind = from + at + 1;
        match bytes.get(behind..)? {
            [b'\n', ..] => Some(behind + 1),
            [b'\r', b'\n', ..] => Some(behind + 2),
            _ => None,
        }
    })
}

/// A head that was parsed where it came, and a copy that what is kept of it are slices of.
pub(super) struct Copied<'a> {
    head: &'a [u8],
    copy: Bytes,
}

impl<'a> Copied<'a> {
    /// A head, from its first byte to its last.
    pub(super) fn new(head: &'a [u8]) -> Self {
        // With room to spare, its slices are counted from the beginning. Of one without, the first slice makes what counts them, and each looks whether that was done.
        let mut copy = Vec::with_capacity(head.len() + 1);
        copy.extend_from_slice(head);
        Self { head, copy: copy.into() }
    }

    /// How far behind the head's beginning a part of it begins.
    fn place(&self, part: &[u8]) -> Option<usize> {
        part.as_ptr().addr().checked_sub(self.head.as_ptr().addr())
    }

    /// A part of the head, of the copy.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn part(&self, part: &[u8]) -> Result<Bytes, Malformed> {
        if part.is_empty() {
            return Ok(Bytes::new());
        }
        let at = self.place(part).ok_or(Malformed)?;
        let end = at + part.len();
        if end > self.copy.len() { Err(Malformed) } else { Ok(self.copy.slice(at..end)) }
    }

    /// Whether each of its lines ends with both a carriage return and a line feed: one that ends with the latter alone, others may take for a part of it. No line feed stands elsewhere in
    /// what was parsed, if none stands at its beginning.
    pub(super) fn has_whole_lines(&self, fields: &[httparse::Header<'_>]) -> bool {
        let behind_an_end = |at: usize| self.head.get(..at).is_some_and(|before| before.ends_with(b"\r\n"));
        self.head.ends_with(b"\r\n\r\n")
            && fields.iter().all(|field| self.place(field.name.as_bytes()).is_some_and(behind_an_end))
    }

    /// Puts its fields in the place of what is in `headers`.
    ///
    /// # Errors
    /// A name or a value is none, or they contradict each other.
    pub(super) fn read_fields(
        &self,
        fields: &[httparse::Header<'_>],
        headers: &mut HeaderMap,
    ) -> Result<Framing, Malformed> {
        let mut framing = Framing::default();
        headers.clear();
        for field in fields {
            let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Malformed)?;
            let value = HeaderValue::from_maybe_shared(self.part(field.value)?).map_err(|_| Malformed)?;
            framing.note(field.name, field.value)?;
            headers.append(name, value);
        }
        Ok(framing)
    }
}

/// What the fields of a message say of its body, and of the connection behind it.
#[derive(Debug, Default)]
pub struct Framing {
    /// `Content-Length`.
    pub length: Option<u64>,
    /// Whether that was said more than once: the same each time.
    pub repeats_length: bool,
    /// Whether `Transfer-Encoding` is `chunked`: others than that are malformed, because nobody here could read what is in them.
    pub is_chunked: bool,
    /// Whether `Connection` says `close`.
    pub closes: bool,
    /// Whether `Connection` says `keep-alive`.
    pub keeps_alive: bool,
    /// Whether it says anything else: names of fields.
    pub names_fields: bool,
    /// Whether `Expect` says `100-continue`.
    pub expects_continue: bool,
    /// How often `Host` is said.
    pub hosts: usize,
}

impl Framing {
    pub(super) fn note(&mut self, name: &str, value: &[u8]) -> Result<(), Malformed> {
        let is = |wanted: HeaderName| name.eq_ignore_ascii_case(wanted.as_str());
        if is(header::CONTENT_LENGTH) {
            // RFC 9110, section 8.6.
            for length in items(value) {
                let length = decimal(length).ok_or(Malformed)?;
                if let Some(other) = self.length.replace(length) {
                    self.repeats_length = true;
                    if other != length {
                        return Err(Malformed);
                    }
                }
            }
        } else if is(header::TRANSFER_ENCODING) {
            if self.is_chunked || !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                return Err(Malformed);
            }
            self.is_chunked = true;
        } else if is(header::CONNECTION) {
            for option in items(value) {
                let (closes, keeps_alive) =
                    (option.eq_ignore_ascii_case(b"close"), option.eq_ignore_ascii_case(b"keep-alive"));
                self.closes |= closes;
                self.keeps_alive |= keeps_alive;
                self.names_fields |= !closes && !keeps_alive;
            }
        } else if is(header::EXPECT) {
            self.expects_continue |= items(value).any(|what| what.eq_ignore_ascii_case(b"100-continue"));
        } else if is(header::HOST) {
            self.hosts += 1;
        }
        Ok(())
    }
}

/// Whether a list names this, however it is spelled.
pub fn names(headers: &HeaderMap, list: HeaderName, name: &str) -> bool {
    headers
        .get_all(list)
        .iter()
        .flat_map(|value| items(value.as_bytes()))
        .any(|item| item.eq_ignore_ascii_case(name.as_bytes()))
}

/// The `Content-Length`, where it is said once.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    let mut said = headers.get_all(header::CONTENT_LENGTH).iter();
    said.next().filter(|_| said.next().is_none()).and_then(|length| decimal(length.as_bytes()))
}

/// What stands between the commas of a list.
pub(super) fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_part_of_a_head_is_none_of_its_copy() {
        let bytes = *b"before/head/behind";
        let copied = Copied::new(&bytes[7..11]);
        assert_eq!(copied.part(&bytes[7..11]).unwrap(), "head");
        assert_eq!(copied.part(&bytes[9..11]).unwrap(), "ad");
        assert_eq!(copied.part(&[]).unwrap(), "");
        for part in [&bytes[..3], &bytes[5..9], &bytes[9..12], &bytes[11..12]] {
            assert_eq!(copied.part(part), Err(Malformed), "{}", part.escape_ascii());
        }
    }
}
