//! Its event stream, `application/vnd.amazon.eventstream`: bytes may be cut anywhere, a frame is held until it is whole.

use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder};
use bytes::{Buf, Bytes, BytesMut};

use crate::{fault::Fault, limits};

/// Bytes before a frame's headers: its length, the headers' length, and a checksum of both.
const PRELUDE: usize = 12;

/// Cuts a stream of bytes into frames.
#[derive(Default)]
pub struct Frames {
    buffer: BytesMut,
}

/// A frame: what kind of event it is, and its JSON. For [`crate::StreamTranslator::event`].
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// `:event-type`, or `:exception-type`.
    pub name: String,
    /// JSON.
    pub payload: Bytes,
}

impl Frames {
    /// The next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame that has come whole. Errors: it is none, or larger than [`limits::EVENT_BYTES`]; nothing behind it can be read.
    pub fn pop(&mut self) -> Result<Option<Frame>, Fault> {
        let Some(length) = self.length()? else { return Ok(None) };
        if self.buffer.len() < length {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(length).freeze();
        match MessageFrameDecoder::new().decode_frame(&mut frame) {
            Ok(DecodedFrame::Complete(message)) => {
                let header = |name: &str| {
                    let mut headers = message.headers().iter();
                    let found = headers.find(|header| header.name().as_str() == name)?;
                    found.value().as_string().ok().map(|value| value.as_str().to_owned())
                };
                let name = header(":event-type").or_else(|| header(":exception-type"));
                let name = name.or_else(|| header(":error-code")).ok_or(Fault::NotOfDialect)?;
                Ok(Some(Frame { name, payload: message.payload().clone() }))
            }
            _ => Err(Fault::NotOfDialect),
        }
    }

    /// Bytes of a frame that has not come whole.
    pub fn held_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Whether a part of a frame has come.
    pub fn is_amid(&self) -> bool {
        !self.buffer.is_empty()
    }

    fn length(&self) -> Result<Option<usize>, Fault> {
        if self.buffer.len() < PRELUDE {
            return Ok(None);
        }
        let length = usize::try_from((&self.buffer[..]).get_u32()).map_err(|_| Fault::TooLarge)?;
        match length {
            0..=15 => Err(Fault::NotOfDialect),
            _ if length > limits::EVENT_BYTES => Err(Fault::TooLarge),
            _ => Ok(Some(length)),
        }
    }
}
