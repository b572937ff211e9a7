//! The header section of a message as it came (RFC 9110, section 6.3): its bytes, and where its fields stand in them.
//!
//! In a map each name would be told apart, each name that the map's makers did not know allocated, and each value counted by those who hold it; and most of them are never asked for, only
//! passed on. Here a head is copied once, and a field that is asked for is looked for, which for the dozen that a head has takes less than to hash its name.

use http::{HeaderMap, HeaderName, header};

use super::fields::put_line;
use super::head::{Framing, Parsed, decimal, items, same_name};
use super::{Malformed, stock};

/// Fields that `Connection` may name: as many as a head may have by default. Comparing each field with each of many more would take long.
const MOST_NAMED: usize = 100;

/// A section's fields, in the order in which they came, with their names as they were spelled.
///
/// Names are tokens, and values have neither line ends nor other control characters than tabs (RFC 9110, section 5), because they were parsed so. Dropped, its room is its core's again.
#[derive(Default)]
pub struct HeaderSection {
    bytes: Vec<u8>,
    places: Vec<Place>,
    is_of_whole_lines: bool,
}

/// Where a field stands: the name's and the value's first byte, how many each has, and the place behind its line.
#[derive(Clone, Copy)]
pub(super) struct Place {
    name: (u32, u32),
    value: (u32, u32),
    ends: u32,
}

impl Place {
    /// Whether it is the field of this name.
    #[inline]
    fn is_named(&self, bytes: &[u8], wanted: &[u8]) -> bool {
        // Which it mostly is not, for its length.
        usize::try_from(self.name.1) == Ok(wanted.len()) && same_name(at(bytes, self.name), wanted)
    }
}

impl Drop for HeaderSection {
    fn drop(&mut self) {
        stock::take_head_back(std::mem::take(&mut self.bytes));
        stock::take_places_back(std::mem::take(&mut self.places));
    }
}

impl HeaderSection {
    /// Takes a head that was parsed in the place of what is here.
    ///
    /// # Errors
    /// Its fields contradict each other.
    pub(super) fn read(
        &mut self,
        head: &Parsed<'_>,
        fields: &[httparse::Header<'_>],
    ) -> Result<Framing, Malformed> {
        let Self { bytes, places, .. } = self;
        if bytes.capacity() == 0 {
            (*bytes, *places) = (stock::head(), stock::places());
        }
        bytes.clear();
        places.clear();
        bytes.extend_from_slice(head.bytes());
        self.is_of_whole_lines = head.has_whole_lines(fields);
        let mut framing = Framing::default();
        let next = fields.iter().skip(1).map(Some).chain([None]);
        for (field, next) in fields.iter().zip(next) {
            framing.note(field.name.as_bytes(), field.value)?;
            let (name, value) = (head.place(field.name.as_bytes())?, head.place(field.value)?);
            let ends = next.map_or_else(
                || head.end_of_lines(),
                |next| head.place(next.name.as_bytes()).map(|at| at.0),
            )?;
            places.push(Place { name, value, ends });
        }
        Ok(framing)
    }

    /// Whether each line ended with both a carriage return and a line feed: see [`Parsed::has_whole_lines`].
    pub(super) fn is_of_whole_lines(&self) -> bool {
        self.is_of_whole_lines
    }

    /// Writes the fields whose names `go` on, each with its line's end; those that stand behind each other in one piece, as they came.
    pub(super) fn put_lines(&self, head: &mut Vec<u8>, go: impl Fn(&[u8]) -> bool) {
        if !self.is_of_whole_lines {
            self.iter().filter(|(name, _)| go(name)).for_each(|(name, value)| put_line(head, name, value));
            return;
        }
        let (mut begins, mut ends) = (0, 0);
        for place in self.places.iter().filter(|place| go(at(&self.bytes, place.name))) {
            if place.name.0 != ends {
                head.extend_from_slice(at(&self.bytes, (begins, ends - begins)));
                begins = place.name.0;
            }
            ends = place.ends;
        }
        head.extend_from_slice(at(&self.bytes, (begins, ends - begins)));
    }

    /// Each field's name, as it was spelled, and its value.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> + Clone {
        let Self { bytes, places, .. } = self;
        places.iter().map(|place| (at(bytes, place.name), at(bytes, place.value)))
    }

    /// The values of all fields of this name.
    #[inline]
    pub fn get_all(&self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
        let (wanted, bytes) = (name.as_str().as_bytes(), &self.bytes);
        self.places
            .iter()
            .filter(move |place| place.is_named(bytes, wanted))
            .map(move |place| at(bytes, place.value))
    }

    /// The first value of this name.
    #[inline]
    pub fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// The first value of this name, if it is text: of visible characters of ASCII, spaces and tabs alone.
    pub fn text(&self, name: &HeaderName) -> Option<&str> {
        text(self.get(name)?)
    }

    /// Whether a field has this name.
    #[inline]
    pub fn contains(&self, name: &HeaderName) -> bool {
        self.get(name).is_some()
    }

    /// Whether a list names this, however it is spelled.
    pub fn names(&self, list: &HeaderName, name: &str) -> bool {
        self.get_all(list).flat_map(items).any(|item| item.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// The `Content-Length`, where it is said once.
    pub fn content_length(&self) -> Option<u64> {
        let length = header::CONTENT_LENGTH;
        let mut said = self.get_all(&length);
        said.next().filter(|_| said.next().is_none()).and_then(decimal)
    }

    /// As a map.
    #[cfg(test)]
    pub(crate) fn to_map(&self) -> HeaderMap {
        let field = |(name, value)| {
            (HeaderName::from_bytes(name).unwrap(), http::HeaderValue::from_bytes(value).unwrap())
        };
        self.iter().map(field).fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Leaves the fields whose names these are.
    pub fn retain(&mut self, stays: impl Fn(&[u8]) -> bool) {
        let Self { bytes, places, .. } = self;
        places.retain(|place| stays(at(bytes, place.name)));
    }

    /// Leaves what is meant for more than one hop (RFC 9110, section 7.6.1): neither what always is meant for one, nor what `Connection` names, but for `never`, which nobody may have removed. Where
    /// it names more than 100 fields, that is all that is left.
    pub fn retain_end_to_end(&mut self, never: &[HeaderName]) {
        if self.contains(&header::CONNECTION) {
            let is_never = |name: &[u8]| never.iter().any(|never| same_name(name, never.as_str().as_bytes()));
            // What nearly all say of a connection names no field.
            let names_none = |item: &&[u8]| is_one_of(item, &["close", "keep-alive", ""]) || is_never(item);
            let options = self.get_all(&header::CONNECTION).flat_map(items);
            let named = options.filter(|item| !names_none(item)).take(MOST_NAMED + 1);
            let named: Vec<Vec<u8>> = named.map(<[u8]>::to_owned).collect();
            let is_named = |name: &[u8]| named.iter().any(|named| same_name(name, named));
            match named.len() {
                0 => {}
                1..=MOST_NAMED => self.retain(|name| !is_named(name)),
                _ => self.retain(is_never),
            }
        }
        self.retain(|name| !is_of_one_hop(name));
    }
}

/// What a map has, field by field, with names in small letters.
impl From<&HeaderMap> for HeaderSection {
    fn from(headers: &HeaderMap) -> Self {
        let (mut bytes, mut places) = (stock::head(), stock::places());
        for (name, value) in headers {
            let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
            let begins = bytes.len();
            put_line(&mut bytes, name, value);
            let place =
                |begins: usize, length: usize| u32::try_from(begins).ok().zip(u32::try_from(length).ok());
            let behind = begins + name.len() + ": ".len();
            // A map has no more than 32,768 fields, and what it was read from had a bound.
            if let (Some(name), Some(value), Ok(ends)) =
                (place(begins, name.len()), place(behind, value.len()), u32::try_from(bytes.len()))
            {
                places.push(Place { name, value, ends });
            }
        }
        Self { bytes, places, is_of_whole_lines: true }
    }
}

/// A value that is text: of visible characters of ASCII, spaces and tabs alone.
pub fn text(value: &[u8]) -> Option<&str> {
    // All are looked at, which is faster than to stop.
    let is_text = value.iter().fold(true, |so_far, byte| so_far & matches!(byte, b'\t' | b' '..=b'~'));
    if is_text { std::str::from_utf8(value).ok() } else { None }
}

/// Whether a name is one of these, which are in small letters.
#[inline]
pub fn is_one_of(name: &[u8], known: &[&str]) -> bool {
    known.iter().any(|known| same_name(name, known.as_bytes()))
}

/// Whether a field is meant for one hop only (RFC 9110, section 7.6.1), or is `Expect`, which a server answers itself.
pub fn is_of_one_hop(name: &[u8]) -> bool {
    const NAMES: [&str; 9] = [
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    is_one_of(name, &NAMES)
}

#[inline]
fn at(bytes: &[u8], (begins, length): (u32, u32)) -> &[u8] {
    let place = usize::try_from(begins).ok().zip(usize::try_from(length).ok());
    place.and_then(|(begins, length)| bytes.get(begins..begins + length)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
