//! Reads JSON for its structure alone: where the members of an object stand, and nothing of what is in them.
//!
//! Each request and each answer is read once, and most of it is text that concerns nobody here. So strings are stepped over many bytes at a time.
//!
//! It decides nothing. `None` says that it did not follow: because the bytes are no JSON, or because they say something in a way that is rare, such as a name with an
//! escape in it. Who hears that asks serde_json, whose word counts, also on what is wrong. What is found here, serde_json finds too: the tests hold the two against each other.

use memchr::memchr2;

/// Objects and lists that are followed inside each other.
const DEEPEST: u32 = 63;
/// Words of a string that are looked at one by one, before it counts as long.
const SHORT_WORDS: usize = 4;
const ONES: u64 = u64::MAX / 255;
const HIGH_BITS: u64 = ONES << 7;

/// A place in JSON. Whoever has got `None` from it is done with it.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Before a value, or white space before it.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The value was all.
    pub(crate) fn end(self) -> Option<()> {
        let rest = self.bytes.get(self.at..)?;
        rest.iter().all(|byte| is_space(*byte)).then_some(())
    }

    /// Reads an object: for each member its name as it is written, and `each` reads the value, or [skips](Self::skip) it. Names that are written with an escape, which could spell any,
    /// or that are no text, are not followed.
    pub(crate) fn members(&mut self, mut each: impl FnMut(&'a [u8], &mut Self) -> Option<()>) -> Option<()> {
        let (bytes, at) = (self.bytes, expect(self.bytes, self.at, b'{')?);
        let (mut token, mut at) = token(bytes, at)?;
        if token == b'}' {
            self.at = at;
            return Some(());
        }
        loop {
            let ends = plain(bytes, quote(token, at)?)?;
            let name = bytes.get(at..ends)?;
            if bytes.get(ends) != Some(&b'"') || !name.is_ascii() && std::str::from_utf8(name).is_err() {
                return None;
            }
            self.at = expect(bytes, ends + 1, b':')?;
            each(name, self)?;
            (token, at) = self::token(bytes, self.at)?;
            match token {
                b',' => (token, at) = self::token(bytes, at)?,
                b'}' => {
                    self.at = at;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    /// Steps over a value: gives it as it is written.
    pub(crate) fn skip(&mut self) -> Option<&'a [u8]> {
        let (opens, behind) = token(self.bytes, self.at)?;
        self.at = value(self.bytes, opens, behind)?;
        self.bytes.get(behind - 1..self.at)
    }

    /// Whether the value is `null`, which is stepped over then.
    pub(crate) fn is_null(&mut self) -> bool {
        let behind = expect(self.bytes, self.at, b'n').and_then(|at| scalar(self.bytes, b'n', at));
        behind.inspect(|at| self.at = *at).is_some()
    }

    /// A whole number that is not too large.
    pub(crate) fn unsigned(&mut self) -> Option<u64> {
        unsigned(self.skip()?)
    }
}

/// Where a value ends that begins with `opens`, which stands before `at`. Objects and lists are followed without a call for each: a bit tells which of the two surrounds what is
/// read.
fn value(bytes: &[u8], mut opens: u8, mut at: usize) -> Option<usize> {
    let (mut objects, mut depth) = (0_u64, 0_u32);
    loop {
        match opens {
            b'"' => at = string(bytes, at)?,
            b'{' | b'[' => {
                let is_object = opens == b'{';
                let (inside, behind) = token(bytes, at)?;
                // A bracket closes what has the one before it in the alphabet but one.
                if inside == opens + 2 {
                    at = behind;
                } else if depth == DEEPEST {
                    return None;
                } else {
                    (objects, depth) = (objects << 1 | u64::from(is_object), depth + 1);
                    (opens, at) = if is_object { member(bytes, inside, behind)? } else { (inside, behind) };
                    continue;
                }
            }
            _ => at = scalar(bytes, opens, at)?,
        }
        loop {
            if depth == 0 {
                return Some(at);
            }
            let (closes, behind) = token(bytes, at)?;
            let is_object = objects & 1 == 1;
            match closes {
                b',' => {
                    (opens, at) = token(bytes, behind)?;
                    if is_object {
                        (opens, at) = member(bytes, opens, at)?;
                    }
                    break;
                }
                b'}' if is_object => {}
                b']' if !is_object => {}
                _ => return None,
            }
            (objects, depth, at) = (objects >> 1, depth - 1, behind);
        }
    }
}

/// Steps over a name whose quote stands before `at`: the first byte of the value, and the place behind it.
fn member(bytes: &[u8], opens: u8, at: usize) -> Option<(u8, usize)> {
    let ends = string(bytes, quote(opens, at)?)?;
    token(bytes, expect(bytes, ends, b':')?)
}

fn quote(byte: u8, at: usize) -> Option<usize> {
    (byte == b'"').then_some(at)
}

/// Where a word or a number ends that begins with `opens`.
fn scalar(bytes: &[u8], opens: u8, at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let literal = |word: &[u8]| rest.starts_with(word).then_some(at + word.len());
    match opens {
        b't' => literal(b"rue"),
        b'f' => literal(b"alse"),
        b'n' => literal(b"ull"),
        b'0' => fraction(bytes, at),
        b'1'..=b'9' => fraction(bytes, digits(bytes, at)),
        b'-' => match rest.first()? {
            b'0' => fraction(bytes, at + 1),
            b'1'..=b'9' => fraction(bytes, digits(bytes, at)),
            _ => None,
        },
        _ => None,
    }
}

/// What follows the whole part of a number.
fn fraction(bytes: &[u8], mut at: usize) -> Option<usize> {
    let some = |at: usize| Some(digits(bytes, at)).filter(|end| *end > at);
    if bytes.get(at) == Some(&b'.') {
        at = some(at + 1)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let is_signed = matches!(bytes.get(at + 1), Some(b'+' | b'-'));
        at = some(at + 1 + usize::from(is_signed))?;
    }
    Some(at)
}

fn digits(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

/// The place behind the closing quote of a string whose first character stands at `at`.
#[inline]
fn string(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = plain(bytes, at)?;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at = plain(bytes, escape(bytes, at + 1)?)?,
            _control => return None,
        }
    }
}

/// The place of the first character of a string that ends it, begins an escape, or may not stand there. Most are near.
#[inline]
fn plain(bytes: &[u8], mut at: usize) -> Option<usize> {
    for word in bytes.get(at..)?.as_chunks().0.iter().take(SHORT_WORDS) {
        let stops = stops(u64::from_le_bytes(*word));
        if stops != 0 {
            return Some(at + usize::try_from(stops.trailing_zeros() / 8).ok()?);
        }
        at += size_of::<u64>();
    }
    long_plain(bytes, at)
}

fn long_plain(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let stop = memchr2(b'"', b'\\', rest)?;
    let least = rest.get(..stop)?.iter().fold(u8::MAX, |least, byte| least.min(*byte));
    (least >= b' ').then_some(at + stop)
}

fn escape(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 1),
        b'u' => bytes.get(at + 1..at + 5)?.iter().all(u8::is_ascii_hexdigit).then_some(at + 5),
        _ => None,
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// The first byte that is no white space, and the place behind it.
#[inline]
fn token(bytes: &[u8], mut at: usize) -> Option<(u8, usize)> {
    loop {
        let byte = *bytes.get(at)?;
        at += 1;
        if byte > b' ' || !is_space(byte) {
            return Some((byte, at));
        }
    }
}

#[inline]
fn expect(bytes: &[u8], at: usize, wanted: u8) -> Option<usize> {
    let (byte, at) = token(bytes, at)?;
    (byte == wanted).then_some(at)
}

/// A value that is a string without escapes: what it says.
pub(crate) fn text(value: &[u8]) -> Option<&str> {
    let inside = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if inside.contains(&b'\\') { None } else { std::str::from_utf8(inside).ok() }
}

/// A value that is a whole number, and not too large.
fn unsigned(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 {
        return None;
    }
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    value.iter().try_fold(0, |number: u64, byte| Some(number * 10 + digit(byte)?))
}

/// Of eight characters, the high bit of the first that ends a string, begins an escape, or may not stand in a string is the lowest that is set. Bits above it tell nothing
/// (<https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord>).
fn stops(word: u64) -> u64 {
    let below = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word;
    // With this bit turned over, a quote is what comes right behind the control characters.
    let quotes_and_controls = below(word ^ (ONES * 2), b' ' + 1);
    let escapes = below(word ^ (ONES * u64::from(b'\\')), 1);
    (quotes_and_controls | escapes) & HIGH_BITS
}

#[cfg(test)]
pub(crate) mod tests;
