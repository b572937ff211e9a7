//! What a provider sent is not what its dialect says. Nothing of it is repeated.

/// A provider's answer that cannot be translated: a 502 to the caller, or the end of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not an answer of the dialect.
    #[error("the provider's answer is not of its dialect")]
    NotOfDialect,
    /// The model wrote a call that is none, and the provider says so.
    #[error("the provider's model wrote a malformed answer")]
    Malformed,
    /// Pieces came in an order that the caller's dialect cannot express.
    #[error("the provider's pieces came out of order")]
    OutOfOrder,
    /// Larger than what is held.
    #[error("the provider's answer is larger than what can be translated")]
    TooLarge,
}
