//! R8: what carries what was said tells nothing of it where it is printed.
//!
//! Types inside the crate that carry it cannot be printed at all; those that leave the crate print their name.

use std::fmt;

use crate::{
    Failure, Outgoing, Reply, StreamTranslator, Translated,
    bedrock::{Frame, Frames},
};

macro_rules! opaque {
    ($($name:ident $(<$lifetime:lifetime>)?),+ $(,)?) => {
        $(impl fmt::Debug for $name $(<$lifetime>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        })+
    };
}

opaque!(Frame, Frames, Outgoing<'_>, Reply, StreamTranslator, Translated);

/// Its class, which is ours; its text is the provider's, and may repeat a prompt.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Failure").field(&self.class).finish()
    }
}
