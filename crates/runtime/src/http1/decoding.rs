//! Where a body ends, and what of the bytes belongs to it (RFC 9112, sections 6 and 7).

use std::io::Write as _;

use bytes::{BufMut, Bytes, BytesMut};

use super::Malformed;

/// Bytes of chunks' extensions and trailers of one body, which nobody reads.
const MOST_UNREAD: u32 = 16 << 10;
/// Digits of a chunk's size.
const MOST_DIGITS: u8 = 16;

/// Takes a body out of what comes.
#[derive(Debug)]
pub struct Decoder(State);

#[derive(Debug)]
enum State {
    Length(u64),
    Chunked { at: Chunk, unread: u32 },
    UntilClose,
}

/// Where in a chunked body the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    /// In a chunk's size, of which so many digits have come.
    Size {
        size: u64,
        digits: u8,
    },
    /// In the room behind the size.
    Space {
        size: u64,
    },
    /// In what else stands there.
    Extension {
        size: u64,
    },
    /// At the end of the line with the size.
    SizeEnd {
        size: u64,
    },
    /// In the data, of which so much is left.
    Data {
        left: u64,
    },
    /// At the end of the data.
    DataEnd,
    DataLineEnd,
    /// In a line behind the last chunk, of which so many bytes have come.
    Trailer {
        is_empty: bool,
    },
    TrailerEnd {
        is_empty: bool,
    },
    Over,
}

impl Decoder {
    /// A body of so many bytes.
    pub fn of_length(length: u64) -> Self {
        Self(State::Length(length))
    }

    /// A body in chunks.
    pub fn chunked() -> Self {
        Self(State::Chunked { at: Chunk::Size { size: 0, digits: 0 }, unread: 0 })
    }

    /// A body that has no other end than its connection's.
    pub fn until_close() -> Self {
        Self(State::UntilClose)
    }

    /// Whether the body has come to its end.
    pub fn is_over(&self) -> bool {
        matches!(self.0, State::Length(0) | State::Chunked { at: Chunk::Over, .. })
    }

    /// Whether the connection's end is the body's.
    pub fn ends_by_close(&self) -> bool {
        matches!(self.0, State::UntilClose)
    }

    /// How many bytes are still to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        match self.0 {
            State::Length(left) => Some(left),
            State::Chunked { at: Chunk::Over, .. } => Some(0),
            State::Chunked { .. } | State::UntilClose => None,
        }
    }

    /// What of `bytes` belongs to the body, and how many of them were taken: all, unless it is over.
    ///
    /// # Errors
    /// It is no body: nothing behind it can be read.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(Bytes, usize), Malformed> {
        match &mut self.0 {
            State::Length(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                let data = bytes.get(..most).unwrap_or(bytes);
                *left -= data.len() as u64;
                Ok((Bytes::copy_from_slice(data), data.len()))
            }
            State::UntilClose => Ok((Bytes::copy_from_slice(bytes), bytes.len())),
            State::Chunked { at, unread } => {
                let mut data = BytesMut::new();
                let mut rest = bytes;
                while let Some(byte) = rest.first().filter(|_| *at != Chunk::Over) {
                    let taken = match at {
                        Chunk::Data { left } => take_data(left, rest, &mut data),
                        _ => 1,
                    };
                    *at = at.behind(*byte)?;
                    if at.is_unread() {
                        *unread += 1;
                        if *unread > MOST_UNREAD {
                            return Err(Malformed);
                        }
                    }
                    rest = rest.get(taken..).unwrap_or_default();
                }
                Ok((data.freeze(), bytes.len() - rest.len()))
            }
        }
    }
}

fn take_data(left: &mut u64, bytes: &[u8], data: &mut BytesMut) -> usize {
    let most = usize::try_from(*left).unwrap_or(usize::MAX);
    let taken = bytes.get(..most).unwrap_or(bytes);
    data.extend_from_slice(taken);
    *left -= taken.len() as u64;
    taken.len()
}

impl Chunk {
    /// Where the byte behind this one stands; of data, the byte behind what was taken.
    fn behind(self, byte: u8) -> Result<Self, Malformed> {
        Ok(match (self, byte) {
            (Self::Size { size, digits }, _) if byte.is_ascii_hexdigit() && digits < MOST_DIGITS => {
                let digit = char::from(byte).to_digit(16).ok_or(Malformed)?;
                Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Self::Size { digits: 0, .. }, _) => return Err(Malformed),
            (Self::Size { size, .. } | Self::Space { size }, b'\r') => Self::SizeEnd { size },
            (Self::Size { size, .. } | Self::Space { size }, b' ' | b'\t') => Self::Space { size },
            (Self::Size { size, .. } | Self::Space { size }, b';') => Self::Extension { size },
            (Self::Extension { size }, b'\r') => Self::SizeEnd { size },
            (Self::Extension { .. }, b'\n') => return Err(Malformed),
            (Self::Extension { size }, _) => Self::Extension { size },
            (Self::SizeEnd { size: 0 }, b'\n') => Self::Trailer { is_empty: true },
            (Self::SizeEnd { size }, b'\n') => Self::Data { left: size },
            (Self::Data { left: 0 }, _) => Self::DataEnd,
            (Self::Data { left }, _) => Self::Data { left },
            (Self::DataEnd, b'\r') => Self::DataLineEnd,
            (Self::DataLineEnd, b'\n') => Self::Size { size: 0, digits: 0 },
            (Self::Trailer { is_empty }, b'\r') => Self::TrailerEnd { is_empty },
            (Self::Trailer { .. }, b'\n') => return Err(Malformed),
            (Self::Trailer { .. }, _) => Self::Trailer { is_empty: false },
            (Self::TrailerEnd { is_empty: true }, b'\n') => Self::Over,
            (Self::TrailerEnd { is_empty: false }, b'\n') => Self::Trailer { is_empty: true },
            _ => return Err(Malformed),
        })
    }

    /// Whether what stands here counts against what nobody reads.
    fn is_unread(self) -> bool {
        matches!(self, Self::Space { .. } | Self::Extension { .. } | Self::Trailer { is_empty: false })
    }
}

/// Writes a chunk's first line.
pub fn put_chunk_size(out: &mut impl BufMut, size: usize) {
    // There is no bound that it could meet.
    let _written = write!(out.writer(), "{size:x}\r\n");
}

#[cfg(test)]
mod tests;
