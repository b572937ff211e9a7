//! The header section of a message as it came (RFC 9110, section 6.3): its bytes, and where its fields stand in them.
//!
//! In a map each name would be told apart, each name that the map's makers did not know allocated, and each value counted by those who hold it; and most of them are never asked for, only
//! passed on. Here a head is copied once, and a field that is asked for is looked for, which for the dozen that a head has takes less than to hash its name.

use http::{HeaderMap, HeaderName, header};

use super::head::{Framing, Parsed, decimal, items};
use super::{Malformed, stock};

/// A section's fields, in the order in which they came, with their names as they were spelled.
///
/// Names are tokens, and values have neither line ends nor other control characters than tabs (RFC 9110, section 5), because they were parsed so. Dropped, its room is its core's again.
#[derive(Default)]
pub struct HeaderSection {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// Where a field stands: the name's and the value's first byte, and the one behind their last.
#[derive(Clone, Copy)]
pub(super) struct Place {
    name: (u32, u32),
    value: (u32, u32),
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
        let Self { bytes, places } = self;
        if bytes.capacity() == 0 {
            (*bytes, *places) = (stock::head(), stock::places());
        }
        bytes.clear();
        places.clear();
        bytes.extend_from_slice(head.bytes());
        let mut framing = Framing::default();
        for field in fields {
            framing.note(field.name, field.value)?;
            let (name, value) = (head.place(field.name.as_bytes())?, head.place(field.value)?);
            places.push(Place { name, value });
        }
        Ok(framing)
    }

    /// Each field's name, as it was spelled, and its value.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> + Clone {
        let Self { bytes, places } = self;
        places.iter().map(|place| (at(bytes, place.name), at(bytes, place.value)))
    }

    /// The values of all fields of this name.
    pub fn get_all(&self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
        let wanted = name.as_str().as_bytes();
        self.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
    }

    /// The first value of this name.
    pub fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// The first value of this name, if it is text: of visible characters of ASCII, spaces and tabs alone.
    pub fn text(&self, name: &HeaderName) -> Option<&str> {
        text(self.get(name)?)
    }

    /// Whether a field has this name.
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
        let Self { bytes, places } = self;
        places.retain(|place| stays(at(bytes, place.name)));
    }

    /// Leaves what is meant for more than one hop (RFC 9110, section 7.6.1): neither what always is meant for one, nor what `Connection` names, but for `never`, which nobody may have removed.
    pub fn retain_end_to_end(&mut self, never: &[HeaderName]) {
        if self.contains(&header::CONNECTION) {
            // What nearly all say of a connection names no field.
            let is_option = |item: &&[u8]| {
                [&b"close"[..], b"keep-alive"].iter().any(|option| item.eq_ignore_ascii_case(option))
            };
            let is_never =
                |name: &&[u8]| never.iter().any(|never| name.eq_ignore_ascii_case(never.as_str().as_bytes()));
            let options = self.get_all(&header::CONNECTION).flat_map(items);
            let named: Vec<Vec<u8>> =
                options.filter(|item| !is_option(item) && !is_never(item)).map(<[u8]>::to_owned).collect();
            if !named.is_empty() {
                self.retain(|name| !named.iter().any(|named| name.eq_ignore_ascii_case(named)));
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
            let mut put = |piece: &[u8]| {
                let begins = bytes.len();
                bytes.extend_from_slice(piece);
                u32::try_from(begins).ok().zip(u32::try_from(bytes.len()).ok())
            };
            // A map has no more than 32,768 fields, and what it was read from had a bound.
            if let (Some(name), Some(value)) = (put(name.as_str().as_bytes()), put(value.as_bytes())) {
                places.push(Place { name, value });
            }
        }
        Self { bytes, places }
    }
}

/// A value that is text: of visible characters of ASCII, spaces and tabs alone.
pub fn text(value: &[u8]) -> Option<&str> {
    let is_text = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    if is_text { std::str::from_utf8(value).ok() } else { None }
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
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

fn at(bytes: &[u8], (begins, ends): (u32, u32)) -> &[u8] {
    let place = usize::try_from(begins).ok().zip(usize::try_from(ends).ok());
    place.and_then(|(begins, ends)| bytes.get(begins..ends)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
