//! Header fields as they are written: what a service adds to each answer, and what goes on as it came. In a map they would be hashed, kept, and written out of it again.

use http::{HeaderName, header};
use smallvec::SmallVec;

use super::head::same_name;
use super::{HeaderSection, stock};

/// Fields of one head, as they go out. There is nothing else in it: no name or value that is none (RFC 9110, section 5), and so nothing that could end a head; and nothing of where a body ends or
/// what becomes of the connection, which is said by who writes the head, alone.
///
/// Dropped, its room is its core's again.
pub struct Fields {
    lines: Vec<u8>,
    /// Where the lines begin whose names nobody else says, and a bit for each [form](form) that such a name has.
    alone: SmallVec<[u32; 16]>,
    forms: u64,
    /// What goes on as it came, behind the lines.
    passed: HeaderSection,
}

/// None at all.
impl Default for Fields {
    fn default() -> Self {
        Self { lines: stock::head(), alone: SmallVec::new(), forms: 0, passed: HeaderSection::default() }
    }
}

impl Drop for Fields {
    fn drop(&mut self) {
        stock::take_head_back(std::mem::take(&mut self.lines));
    }
}

/// Fields that many heads have, written once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldLines(Box<[u8]>);

impl FieldLines {
    /// These, but for what may not be said: see [`Fields::add`].
    pub fn new<'a>(fields: impl IntoIterator<Item = (HeaderName, &'a [u8])>) -> Self {
        let mut lines = Vec::new();
        for (name, value) in fields {
            add(&mut lines, &name, value);
        }
        Self(lines.into())
    }
}

impl Fields {
    /// Says this in place of what anybody else says by this name. A value that none may have is left out.
    pub fn put(&mut self, name: &HeaderName, value: &[u8]) {
        let begins = self.lines.len();
        if self.add(name, value) {
            self.alone.extend(u32::try_from(begins));
            self.forms |= form(name.as_str().as_bytes());
        }
    }

    /// Says this beside what others say by this name. Whether it may be said: otherwise it is left out.
    pub fn add(&mut self, name: &HeaderName, value: &[u8]) -> bool {
        add(&mut self.lines, name, value)
    }

    /// Says all of these beside what others say by their names.
    pub fn add_lines(&mut self, lines: &FieldLines) {
        self.lines.extend_from_slice(&lines.0);
    }

    /// Passes on what came, in the place of what was passed on before: but for what says where a body ends or what becomes of the connection, and for what is [put](Self::put).
    pub fn pass_on(&mut self, section: HeaderSection) {
        self.passed = section;
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.lines.clear();
        self.alone.clear();
        self.forms = 0;
        self.passed = HeaderSection::default();
    }

    /// Whether it speaks in the place of whoever else says this name.
    pub(crate) fn replaces(&self, name: &[u8]) -> bool {
        let is_named = |begins: &u32| {
            let line = usize::try_from(*begins).ok().and_then(|begins| self.lines.get(begins..));
            let named = line.and_then(|line| line.split_at_checked(name.len()));
            named.is_some_and(|(line, rest)| rest.first() == Some(&b':') && same_name(line, name))
        };
        self.forms & form(name) != 0 && self.alone.iter().any(is_named)
    }

    /// Whether anything says this name.
    pub(crate) fn says(&self, name: &HeaderName) -> bool {
        self.replaces(name.as_str().as_bytes()) || self.passed.contains(name)
    }

    /// Those that were put or added, each with its line's end.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// All of them, by name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &*self.lines;
        let lines = std::iter::from_fn(move || {
            let (line, behind) = rest.split_at_checked(memchr::memchr(b'\n', rest)? + 1)?;
            rest = behind;
            let (name, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
            Some((name, value.strip_prefix(b": ")?.strip_suffix(b"\r\n")?))
        });
        lines.chain(self.passed.iter().filter(|(name, _)| self.passes(name)))
    }

    /// Whether what came by this name goes on.
    fn passes(&self, name: &[u8]) -> bool {
        !is_of_framing(name) && !self.replaces(name)
    }

    /// Writes all of them.
    pub(crate) fn put_into(&self, head: &mut Vec<u8>) {
        head.extend_from_slice(&self.lines);
        self.passed.put_lines(head, |name| self.passes(name));
    }
}

fn add(lines: &mut Vec<u8>, name: &HeaderName, value: &[u8]) -> bool {
    let name = name.as_str().as_bytes();
    // RFC 9110, section 5.5.
    let may_stand = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    // All are looked at, which is faster than to stop.
    let is_value = value.iter().fold(true, |so_far, byte| so_far & may_stand(byte));
    let may_be_said = is_value && !is_of_framing(name);
    if may_be_said {
        put_line(lines, name, value);
    }
    may_be_said
}

pub(super) fn put_line(head: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for piece in [name, b": ", value, b"\r\n"] {
        head.extend_from_slice(piece);
    }
}

/// Whether it says where a body ends, or what becomes of the connection.
pub(super) fn is_of_framing(name: &[u8]) -> bool {
    let is = |known: HeaderName| same_name(name, known.as_str().as_bytes());
    is(header::CONNECTION) || is(header::CONTENT_LENGTH) || is(header::TRANSFER_ENCODING)
}

/// What few names have in common, in one bit, however they are spelled: most that are different are told apart by it.
fn form(name: &[u8]) -> u64 {
    let small = |byte: &u8| usize::from(byte.to_ascii_lowercase());
    let ends = name.first().zip(name.last()).map_or(0, |(first, last)| small(first) ^ small(last));
    1 << ((name.len() ^ ends) % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: HeaderName = HeaderName::from_static("x-one");
    const OTHER: HeaderName = HeaderName::from_static("x-other");

    fn replaces(fields: &Fields, name: &HeaderName) -> bool {
        fields.replaces(name.as_str().as_bytes())
    }

    /// What came, as it would be passed on.
    fn came(fields: &[(&'static str, &'static str)]) -> HeaderSection {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), http::HeaderValue::from_static(value))
        };
        (&fields.iter().map(field).collect::<http::HeaderMap>()).into()
    }

    #[test]
    fn what_is_put_stands_alone_and_what_is_added_does_not() {
        let mut fields = Fields::default();
        fields.put(&ONE, b"1");
        assert!(fields.add(&OTHER, b"2"));
        assert_eq!(fields.lines().escape_ascii().to_string(), r"x-one: 1\r\nx-other: 2\r\n");
        assert!(replaces(&fields, &ONE) && !replaces(&fields, &OTHER));
        fields.clear();
        assert!(fields.lines().is_empty() && !replaces(&fields, &ONE));
    }

    #[test]
    fn names_are_told_apart_also_where_they_have_one_form() {
        let mut fields = Fields::default();
        fields.put(&HeaderName::from_static("x-abd"), b"");
        let alike = ["x-acd", "x-abd-", "x-ab", "d-abx"].map(HeaderName::from_static);
        assert!(alike.iter().any(|name| form(name.as_str().as_bytes()) == form(b"x-abd")));
        assert!(alike.iter().all(|name| !replaces(&fields, name)));
    }

    #[test]
    fn nothing_that_is_put_says_where_a_body_ends() {
        let mut fields = Fields::default();
        for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION] {
            fields.put(&name, b"1");
            assert!(!fields.add(&name, b"1") && !replaces(&fields, &name));
        }
        assert!(fields.lines().is_empty());
    }

    #[test]
    fn what_came_goes_on_but_for_what_is_put_and_what_is_of_framing() {
        let mut fields = Fields::default();
        fields.pass_on(came(&[("x-before", "1")]));
        fields.put(&ONE, b"ours");
        fields.add(&OTHER, b"ours");
        let section = [
            ("x-one", "theirs"),
            ("x-other", "theirs"),
            ("connection", "close"),
            ("content-length", "7"),
            ("transfer-encoding", "chunked"),
            ("date", "then"),
        ];
        fields.pass_on(came(&section));
        let mut head = Vec::new();
        fields.put_into(&mut head);
        let expected = r"x-one: ours\r\nx-other: ours\r\nx-other: theirs\r\ndate: then\r\n";
        assert_eq!(head.escape_ascii().to_string(), expected);
        let listed: Vec<u8> =
            fields.iter().flat_map(|(name, value)| [name, b": ", value, b"\r\n"].concat()).collect();
        assert_eq!(listed, head, "whoever asks for them finds the same");
        assert!(fields.says(&header::DATE) && fields.says(&ONE) && !fields.says(&header::ETAG));
        assert!(!replaces(&fields, &OTHER) && fields.replaces(b"X-oNe"), "however it is spelled");
        fields.clear();
        head.clear();
        fields.put_into(&mut head);
        assert!(head.is_empty() && fields.iter().next().is_none() && !fields.says(&header::DATE));
    }

    #[test]
    fn what_many_heads_have_is_written_once_and_is_fields_alone() {
        let lines = FieldLines::new([
            (ONE, &b"1"[..]),
            (header::CONTENT_LENGTH, b"7"),
            (OTHER, b"2\r\nx-three: 3"),
            (OTHER, b"2"),
        ]);
        let mut fields = Fields::default();
        fields.put(&OTHER, b"3");
        fields.add_lines(&lines);
        assert_eq!(fields.lines().escape_ascii().to_string(), r"x-other: 3\r\nx-one: 1\r\nx-other: 2\r\n");
    }

    #[test]
    fn nothing_that_is_put_ends_a_line_or_a_head() {
        let mut fields = Fields::default();
        for value in ["a\r\nx-two: 3", "\n", "\r", "\0", "\x7f"] {
            assert!(!fields.add(&ONE, value.as_bytes()));
            fields.put(&ONE, value.as_bytes());
        }
        assert!(fields.lines().is_empty() && !replaces(&fields, &ONE));
        assert!(fields.iter().next().is_none());
        fields.put(&ONE, "a b\tü".as_bytes());
        assert_eq!(fields.lines(), "x-one: a b\tü\r\n".as_bytes());
    }

    #[test]
    fn more_than_have_their_place_are_told_too() {
        let mut fields = Fields::default();
        let names: Vec<HeaderName> = (0..100).map(|at| format!("x-{at}").parse().unwrap()).collect();
        names.iter().for_each(|name| fields.put(name, b"1"));
        assert!(names.iter().all(|name| replaces(&fields, name)));
    }
}
