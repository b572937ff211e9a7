//! Gemini, in AI Studio (<https://ai.google.dev/api/generate-content>) and in Vertex AI
//! (<https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference>), for callers who speak something else.
//!
//! Of what callers may ask for: it wants the system's messages first; takes images, documents and sound with the request alone; cannot be told to call one tool at
//! a time; has no user of the caller's, no names of schemas, files and documents (labels without effect: dropped). Reasoning is asked for by level or budget, and its
//! signatures go back with the part that they came with.

mod answer;
mod request;
mod stream;

pub(crate) use answer::read_answer;
pub(crate) use request::{counted, encode};
pub(crate) use stream::ProviderStream;

/// Begins the names that calls get here where Gemini gives none. It would not know them.
const OWN_CALL: &str = "bwcall_";
