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
    /// Streams one word every two seconds until `POST /simulated/release`, then ends.
    Held,
    /// Redirects elsewhere.
    Redirect,
    /// Answers with calls of a tool whose arguments repeat the last message.
    Tools,
    /// Answers with what it was shown beside the text.
    Look,
    /// Answers with headers that repeat the last message.
    Headers,
    /// Answers with a page of this status, as what stands before a provider does; the prompt stands in it.
    Page(u16),
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
            "held" => Self::Held,
            "redirect" => Self::Redirect,
            "tools" => Self::Tools,
            "look" => Self::Look,
            "headers" => Self::Headers,
            _ => match (failure(name, "status-"), failure(name, "page-")) {
                (Some(status), _) => Self::Status(status),
                (_, Some(status)) => Self::Page(status),
                _ => Self::Answer,
            },
        }
    }

    /// Whether the answer repeats the last message.
    pub(crate) fn echoes(self) -> bool {
        matches!(self, Self::Echo | Self::Tools | Self::Headers)
    }
}

fn failure(name: &str, prefix: &str) -> Option<u16> {
    name.strip_prefix(prefix)?.parse().ok().filter(|status| (400..600).contains(status))
}
