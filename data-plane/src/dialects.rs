//! What providers speak: one file for each dialect.

pub(crate) mod openai;
pub(crate) mod sse;
pub(crate) mod tail;
