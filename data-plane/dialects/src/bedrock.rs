//! Bedrock's Converse and ConverseStream (<https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>), for callers who speak something else.
//!
//! Of what callers may ask for: it takes media with the request alone; has no seed, penalties, probabilities, nor several answers; has no word for "call no tool" nor
//! for "one at a time"; budgets of reasoning and `top_k` only where the model is Anthropic's, which reads them beside Converse's own fields. It has no user of the
//! caller's (no effect: dropped).

mod answer;
mod frames;
mod request;
mod signature;
mod stream;

pub use frames::{Frame, Frames};
pub use signature::{AwsCredentials, SigningError, sign};

pub(crate) use answer::read_answer;
pub(crate) use request::{counted, encode};
pub(crate) use stream::ProviderStream;
