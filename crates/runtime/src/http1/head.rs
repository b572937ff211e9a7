//! Heads of messages: where they end, their fields, and what those say of the body.

use http::{HeaderMap, HeaderName, header};

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

/// A head that was parsed where it came.
pub(super) struct Parsed<'a>(&'a [u8]);

impl<'a> Parsed<'a> {
    /// A head, from its first byte to its last.
    pub(super) fn new(head: &'a [u8]) -> Self {
        Self(head)
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// How far behind the head's beginning a part of it begins.
    fn begins(&self, part: &[u8]) -> Option<usize> {
        part.as_ptr().addr().checked_sub(self.0.as_ptr().addr())
    }

    /// Where a part of the head begins in it, and how many bytes it has.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn place(&self, part: &[u8]) -> Result<(u32, u32), Malformed> {
        if part.is_empty() {
            return Ok((0, 0));
        }
        let begins = self.begins(part).ok_or(Malformed)?;
        let place = u32::try_from(begins).ok().zip(u32::try_from(part.len()).ok());
        place.filter(|_| begins + part.len() <= self.0.len()).ok_or(Malformed)
    }

    /// Where the line of its last field ends, and the empty one begins: where its lines are whole.
    pub(super) fn end_of_lines(&self) -> Result<u32, Malformed> {
        let ends = self.0.len().checked_sub("\r\n".len()).and_then(|ends| u32::try_from(ends).ok());
        ends.ok_or(Malformed)
    }

    /// Whether each of its lines ends with both a carriage return and a line feed: one that ends with the latter alone, others may take for a part of it. No line feed stands elsewhere in
    /// what was parsed, if none stands at its beginning.
    pub(super) fn has_whole_lines(&self, fields: &[httparse::Header<'_>]) -> bool {
        let behind_an_end = |at: usize| self.0.get(..at).is_some_and(|before| before.ends_with(b"\r\n"));
        self.0.ends_with(b"\r\n\r\n")
            && fields.iter().all(|field| self.begins(field.name.as_bytes()).is_some_and(behind_an_end))
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
    /// Whether `Expect` says `100-continue`.
    pub expects_continue: bool,
    /// How often `Host` is said.
    pub hosts: usize,
}

impl Framing {
    pub(super) fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        let is = |wanted: HeaderName| same_name(name, wanted.as_str().as_bytes());
        if is(header::CONTENT_LENGTH) {
            return self.note_length(value);
        }
        if is(header::HOST) {
            self.hosts += 1;
        } else if is(header::TRANSFER_ENCODING) {
            if self.is_chunked || !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                return Err(Malformed);
            }
            self.is_chunked = true;
        } else if is(header::CONNECTION) {
            for option in items(value) {
                self.closes |= option.eq_ignore_ascii_case(b"close");
                self.keeps_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if is(header::EXPECT) {
            self.expects_continue |= items(value).any(|what| what.eq_ignore_ascii_case(b"100-continue"));
        }
        Ok(())
    }

    /// RFC 9110, section 8.6.
    fn note_length(&mut self, value: &[u8]) -> Result<(), Malformed> {
        for length in items(value) {
            let length = decimal(length).ok_or(Malformed)?;
            if let Some(other) = self.length.replace(length) {
                self.repeats_length = true;
                if other != length {
                    return Err(Malformed);
                }
            }
        }
        Ok(())
    }
}

/// Whether two names are one, however they are spelled. Most that are not have other lengths, and most that are, are spelled alike.
#[inline]
pub(super) fn same_name(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && (one == other || one.eq_ignore_ascii_case(other))
}

/// Whether a list names this, however it is spelled.
pub(crate) fn names(headers: &HeaderMap, list: HeaderName, name: &str) -> bool {
    headers
        .get_all(list)
        .iter()
        .flat_map(|value| items(value.as_bytes()))
        .any(|item| item.eq_ignore_ascii_case(name.as_bytes()))
}

/// The `Content-Length`, where it is said once.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    let mut said = headers.get_all(header::CONTENT_LENGTH).iter();
    said.next().filter(|_| said.next().is_none()).and_then(|length| decimal(length.as_bytes()))
}

/// What stands between the commas of a list.
pub(super) fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_part_of_a_head_has_no_place_in_it() {
        let bytes = *b"before/head/behind";
        let parsed = Parsed::new(&bytes[7..11]);
        assert_eq!(parsed.place(&bytes[7..11]), Ok((0, 4)));
        assert_eq!(parsed.place(&bytes[9..11]), Ok((2, 2)));
        assert_eq!(parsed.place(&[]), Ok((0, 0)));
        for part in [&bytes[..3], &bytes[5..9], &bytes[9..12], &bytes[11..12]] {
            assert_eq!(parsed.place(part), Err(Malformed), "{}", part.escape_ascii());
        }
    }
}
