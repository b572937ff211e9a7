//! Finds `usage` in JSON that is too large to hold, while it passes: the value of that member of the outermost object, or of one inside it. And counts what stands in its list
//! `data`, which is images.

const MEMBER: &[u8] = b"usage";
const LIST: &[u8] = b"data";
/// Bytes of a `usage` object that are kept.
const LARGEST_USAGE: usize = 16 << 10;

/// A reader of passing bytes. Its memory is bounded, whatever passes.
#[derive(Debug, Default)]
pub(crate) struct UsageFinder {
    depth: usize,
    /// Objects around the one that is read.
    outer: usize,
    began: bool,
    in_string: bool,
    escaped: bool,
    /// The string at depth 1 that is being read, as long as it may be the member's name.
    name: Vec<u8>,
    /// The last whole string at depth 1 was the member's name.
    named: bool,
    /// The same of the list's name.
    list_named: bool,
    in_list: bool,
    elements: u64,
    captured: Vec<u8>,
    capturing: bool,
}

impl UsageFinder {
    /// One that reads the first object inside the outermost, and those beside it.
    pub(crate) fn inside() -> Self {
        Self { outer: 1, ..Self::default() }
    }

    /// Whether what is read stands in no other member.
    fn is_there(&self) -> bool {
        self.depth == self.outer + 1
    }

    /// Looks at the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.step(*byte);
        }
    }

    /// The member's value, once it has passed whole; the last one, when there were several.
    pub(crate) fn found(&self) -> Option<&[u8]> {
        Some(self.captured.as_slice()).filter(|captured| !self.capturing && !captured.is_empty())
    }

    /// How many objects the list `data` has.
    pub(crate) fn elements(&self) -> u64 {
        self.elements
    }

    /// Whether what has passed ends where its outermost object does.
    pub(crate) fn is_closed(&self) -> bool {
        self.began && self.depth == 0
    }

    fn step(&mut self, byte: u8) {
        if self.capturing && self.captured.len() < LARGEST_USAGE {
            self.captured.push(byte);
        }
        if self.in_string {
            self.step_in_string(byte);
            return;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                self.name.clear();
            }
            b'{' | b'[' => {
                if self.is_there() && self.named && byte == b'{' {
                    self.capturing = true;
                    self.captured.clear();
                    self.captured.push(byte);
                }
                if self.is_there() {
                    self.in_list = self.list_named && byte == b'[';
                }
                if self.depth == self.outer + 2 && self.in_list && byte == b'{' {
                    self.elements = self.elements.saturating_add(1);
                }
                (self.named, self.list_named) = (false, false);
                self.began = true;
                self.depth += 1;
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.is_there() {
                    self.capturing = false;
                }
            }
            b',' => (self.named, self.list_named) = (false, false),
            _ => {}
        }
    }

    fn step_in_string(&mut self, byte: u8) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => {
                self.in_string = false;
                self.named = self.is_there() && self.name == MEMBER;
                self.list_named = self.is_there() && self.name == LIST;
                return;
            }
            _ => {}
        }
        // One byte more than the name has is enough to know that it is another.
        if self.is_there() && self.name.len() <= MEMBER.len() {
            self.name.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(chunks: &[&[u8]]) -> Option<String> {
        let mut finder = UsageFinder::default();
        chunks.iter().for_each(|chunk| finder.push(chunk));
        finder.found().map(|value| String::from_utf8_lossy(value).into_owned())
    }

    const ANSWER: &[u8] = br#"{"data":[{"usage":{"no":1},"t":"\"usage\":{"}],"x":"usage","y":{"usage":{"no":2}},"usage" : {"prompt_tokens":7,"d":{"a":"}"}},"z":"{"}"#;

    proptest! {
        #[test]
        fn the_outermost_member_is_found_however_the_bytes_are_cut(cut in 0..ANSWER.len(), other in 0..ANSWER.len()) {
            let (one, two) = (cut.min(other), cut.max(other));
            let chunks = [&ANSWER[..one], &ANSWER[one..two], &ANSWER[two..]];
            let found = found(&chunks);
            let mut finder = UsageFinder::default();
            chunks.iter().for_each(|chunk| finder.push(chunk));
            prop_assert_eq!(finder.elements(), 1);
            prop_assert_eq!(found.as_deref(), Some(r#"{"prompt_tokens":7,"d":{"a":"}"}}"#));
        }

        #[test]
        fn any_bytes_pass(bytes: Vec<u8>) {
            let _ = found(&[&bytes]);
        }
    }

    #[test]
    fn images_are_counted_wherever_their_list_stands() {
        let count = |body: &[u8]| {
            let mut finder = UsageFinder::default();
            finder.push(body);
            finder.elements()
        };
        assert_eq!(
            count(br#"{"created":1,"data":[{"b64_json":"{[\"{"},{"url":"x","a":{"data":[{}]}}],"x":[{}]}"#),
            2
        );
        assert_eq!(count(br#"{"x":{"data":[{}]},"y":"data","z":[{}],"data":{"a":{}}}"#), 0);
        assert_eq!(count(br#"{"data":[]}"#), 0);
    }

    #[test]
    fn inside_an_object_it_is_found_too() {
        let mut finder = UsageFinder::inside();
        finder.push(br#"event: x data: {"type":"t","usage":{"a":1},"response":{"output":[{"usage":{"a":2}}],"usage":{"a":{"b":3}},"x":"}"},"n":{"a":1}}"#);
        assert_eq!(finder.found(), Some(&br#"{"a":{"b":3}}"#[..]));
        assert!(finder.is_closed());
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        assert_eq!(found(&[br#"{"x":"usage"}"#]), None);
        assert_eq!(found(&[br#"{"usage":null,"x":{"a":1}}"#]), None);
        assert_eq!(found(&[br#"[{"usage":{"a":1}}]"#]), None);
        assert_eq!(found(&[br#"{"usage":{"a":1"#]), None);
    }
}
