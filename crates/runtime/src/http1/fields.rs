//! Header fields as they are written: what a service adds to each answer, and what goes on as it came. In a map they would be hashed, kept, and written out of it again.

use http::{HeaderName, header};
use smallvec::SmallVec;

/// Fields of one head, as they go out. There is nothing else in it: no name or value that is none (RFC 9110, section 5), and so nothing that could end a head; and nothing of where a body ends or
/// what becomes of the connection, which is said by who writes the head, alone.
#[derive(Default)]
pub struct Fields {
    lines: Vec<u8>,
    /// Where the lines begin whose names nobody else says, and a bit for each [form](form) that such a name has.
    alone: SmallVec<[u32; 16]>,
    forms: u64,
}

impl Fields {
    /// In room that was used before. Nothing of what was in it stays.
    pub(crate) fn in_room(mut room: Vec<u8>) -> Self {
        room.clear();
        Self { lines: room, alone: SmallVec::new(), forms: 0 }
    }

    pub(crate) fn into_room(self) -> Vec<u8> {
        self.lines
    }

    /// Says this in place of what the response's own headers say by this name. A value that none may have is left out.
    pub fn put(&mut self, name: &HeaderName, value: &[u8]) {
        let begins = self.lines.len();
        if self.add(name, value) {
            self.alone.extend(u32::try_from(begins));
            self.forms |= form(name.as_str());
        }
    }

    /// Says this beside what the response's own headers say by this name. Whether it may be said: otherwise it is left out.
    pub fn add(&mut self, name: &HeaderName, value: &[u8]) -> bool {
        !is_of_framing(name) && self.add_read(name.as_str(), value)
    }

    /// The same, by a name as it was read, which is one, and not one of framing.
    pub(super) fn add_read(&mut self, name: &str, value: &[u8]) -> bool {
        // RFC 9110, section 5.5.
        let may_stand = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
        // All are looked at, which is faster than to stop.
        let is_value = value.iter().fold(true, |so_far, byte| so_far & may_stand(byte));
        if is_value {
            for piece in [name.as_bytes(), b": ", value, b"\r\n"] {
                self.lines.extend_from_slice(piece);
            }
        }
        is_value
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.lines.clear();
        self.alone.clear();
        self.forms = 0;
    }

    /// Whether it speaks in the place of whoever else says this name.
    pub(crate) fn replaces(&self, name: &HeaderName) -> bool {
        let is_named = |begins: &u32| {
            let line = usize::try_from(*begins).ok().and_then(|begins| self.lines.get(begins..));
            line.and_then(|line| line.strip_prefix(name.as_str().as_bytes()))
                .is_some_and(|rest| rest.first() == Some(&b':'))
        };
        self.forms & form(name.as_str()) != 0 && self.alone.iter().any(is_named)
    }

    /// As they are written, each with its line's end.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }
}

/// Whether it says where a body ends, or what becomes of the connection.
pub(super) fn is_of_framing(name: &HeaderName) -> bool {
    *name == header::CONNECTION || *name == header::CONTENT_LENGTH || *name == header::TRANSFER_ENCODING
}

/// What few names have in common, in one bit: most that are different are told apart by it.
fn form(name: &str) -> u64 {
    let text = name.as_bytes();
    let ends =
        text.first().zip(text.last()).map_or(0, |(first, last)| usize::from(*first) ^ usize::from(*last));
    1 << ((text.len() ^ ends) % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: HeaderName = HeaderName::from_static("x-one");
    const OTHER: HeaderName = HeaderName::from_static("x-other");

    #[test]
    fn what_is_put_stands_alone_and_what_is_added_does_not() {
        let mut fields = Fields::default();
        fields.put(&ONE, b"1");
        assert!(fields.add(&OTHER, b"2"));
        assert_eq!(fields.lines().escape_ascii().to_string(), r"x-one: 1\r\nx-other: 2\r\n");
        assert!(fields.replaces(&ONE) && !fields.replaces(&OTHER));
        fields.clear();
        assert!(fields.lines().is_empty() && !fields.replaces(&ONE));
    }

    #[test]
    fn names_are_told_apart_also_where_they_have_one_form() {
        let mut fields = Fields::default();
        fields.put(&HeaderName::from_static("x-abd"), b"");
        let alike = ["x-acd", "x-abd-", "x-ab", "d-abx"].map(HeaderName::from_static);
        assert!(alike.iter().any(|name| form(name.as_str()) == form("x-abd")));
        assert!(alike.iter().all(|name| !fields.replaces(name)));
    }

    #[test]
    fn nothing_that_is_put_says_where_a_body_ends() {
        let mut fields = Fields::default();
        for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION] {
            fields.put(&name, b"1");
            assert!(!fields.add(&name, b"1") && !fields.replaces(&name));
        }
        assert!(fields.lines().is_empty());
    }

    #[test]
    fn nothing_that_is_put_ends_a_line_or_a_head() {
        let mut fields = Fields::default();
        for value in ["a\r\nx-two: 3", "\n", "\r", "\0", "\x7f"] {
            assert!(!fields.add(&ONE, value.as_bytes()));
            fields.put(&ONE, value.as_bytes());
        }
        assert!(fields.lines().is_empty() && !fields.replaces(&ONE));
        fields.put(&ONE, "a b\tü".as_bytes());
        assert_eq!(fields.lines(), "x-one: a b\tü\r\n".as_bytes());
    }

    #[test]
    fn more_than_have_their_place_are_told_too() {
        let mut fields = Fields::default();
        let names: Vec<HeaderName> = (0..100).map(|at| format!("x-{at}").parse().unwrap()).collect();
        names.iter().for_each(|name| fields.put(name, b"1"));
        assert!(names.iter().all(|name| fields.replaces(name)));
    }
}
