//! What a model's name asks for.

/// How the provider behaves towards one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Answers.
    Answer,
    /// Answers with the last message of the prompt.
    Echo,
    /// Answers with an error of this status; the prompt stands in the error's message, as real providers do.
    Status(u16),
    /// Announces more bytes than it sends, then closes.
    Truncated,
    /// Answers 200 with something that is not JSON.
    Garbage,
    /// Takes the call and never answers.
    Hang,
    /// Streams one word every 50 ms, and many of them.
    Slow,
    /// Redirects elsewhere.
    Redirect,
}

impl Behaviour {
    /// `simulated-echo`, `simulated-status-429`, …; any other name answers.
    pub(crate) fn of(model: &str) -> Self {
        let Some(name) = model.strip_prefix("simulated-") else { return Self::Answer };
        match name {
            "echo" => Self::Echo,
            "truncated" => Self::Truncated,
            "garbage" => Self::Garbage,
            "hang" => Self::Hang,
            "slow" => Self::Slow,
            "redirect" => Self::Redirect,
            _ => name
                .strip_prefix("status-")
                .and_then(|code| code.parse().ok())
                .filter(|code| (400..600).contains(code))
                .map_or(Self::Answer, Self::Status),
        }
    }
}
