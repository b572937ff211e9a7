//! Where the fields of a response go: into a map, for who looks at them; or on, as they came.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::head::items;
use super::{Copied, Fields, Framing, Malformed, spare_headers};

/// Takes the fields of a response's head that was read.
pub trait TakesFields {
    /// Takes them in the place of what it has.
    ///
    /// # Errors
    /// A name or a value is none, or they contradict each other.
    fn take(&mut self, head: &[u8], fields: &[httparse::Header<'_>]) -> Result<Framing, Malformed>;

    /// Those that the response has in its own map.
    fn give(&mut self) -> HeaderMap;
}

/// All of them are looked at.
impl TakesFields for HeaderMap {
    fn take(&mut self, head: &[u8], fields: &[httparse::Header<'_>]) -> Result<Framing, Malformed> {
        // The values are slices of a copy.
        let framing = Copied::new(head).read_fields(fields, self)?;
        if framing.is_chunked {
            // Which of the two counts is said by one alone (RFC 9112, section 6.3).
            self.remove(header::CONTENT_LENGTH);
        }
        Ok(framing)
    }

    fn give(&mut self) -> HeaderMap {
        std::mem::take(self)
    }
}

/// Passes a response's fields on as they came, but for those that are meant for one hop (RFC 9110, section 7.6.1). What is said of the body's length, and that the connection closes, stays with the
/// response.
pub struct Passing<'a> {
    on: &'a mut Fields,
    own: HeaderMap,
}

impl<'a> Passing<'a> {
    /// To here, where nothing else is.
    pub fn to(on: &'a mut Fields) -> Self {
        Self { on, own: spare_headers() }
    }

    /// Nothing goes on after all.
    pub(crate) fn clear(&mut self) {
        self.on.clear();
        self.own.clear();
    }
}

impl TakesFields for Passing<'_> {
    fn take(&mut self, _head: &[u8], fields: &[httparse::Header<'_>]) -> Result<Framing, Malformed> {
        self.clear();
        let mut framing = Framing::default();
        fields.iter().try_for_each(|field| framing.note(field.name, field.value))?;
        for field in fields {
            let is = |wanted: HeaderName| field.name.eq_ignore_ascii_case(wanted.as_str());
            if is(header::CONTENT_LENGTH) {
                // Which of the two counts is said by one alone (RFC 9112, section 6.3).
                if !framing.is_chunked {
                    let length = HeaderValue::from_bytes(field.value).map_err(|_| Malformed)?;
                    self.own.append(header::CONTENT_LENGTH, length);
                }
            } else if is(header::DATE) {
                self.on.put(&header::DATE, field.value);
            } else {
                let ends_here =
                    is_of_one_hop(field.name) || framing.names_fields && is_named(field.name, fields);
                if !ends_here && !self.on.add_read(field.name, field.value) {
                    return Err(Malformed);
                }
            }
        }
        if framing.closes {
            self.own.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(framing)
    }

    fn give(&mut self) -> HeaderMap {
        std::mem::take(&mut self.own)
    }
}

/// Whether a field is meant for one hop only (RFC 9110, section 7.6.1), or is `Expect`, which a server answers itself.
pub fn is_of_one_hop(name: &str) -> bool {
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
    NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Whether `Connection` names a field. What a body is, nobody may have removed.
fn is_named(name: &str, fields: &[httparse::Header<'_>]) -> bool {
    let connections =
        fields.iter().filter(|field| field.name.eq_ignore_ascii_case(header::CONNECTION.as_str()));
    let mut named = connections.flat_map(|field| items(field.value));
    named.any(|named| named.eq_ignore_ascii_case(name.as_bytes()))
        && !name.eq_ignore_ascii_case(header::CONTENT_TYPE.as_str())
}

#[cfg(test)]
mod tests;
