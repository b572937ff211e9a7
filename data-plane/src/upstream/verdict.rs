//! What a provider's status says of the deployment, and of the call: which failures may be tried again.
//!
//! Again, here or elsewhere, is tried only what cannot have been answered, nor charged: connections that were not made, 408, 429, and statuses of 500 and above, each seen
//! before anything went to the caller; and what speaks against the deployment alone, a credential or an account that is refused. A request that was written to a connection
//! which then broke may have been answered, and charged: it is tried again only where an answer costs nothing, and a repetition changes nothing (counts of tokens, moderations).
//! So is one that is not answered in time: it is not tried again at all.

use std::time::Duration;

use bailiwick_domain::{time::Clock, usage::CallType};
use bailiwick_runtime::serving::HeaderSection;
use http::StatusCode;

use crate::{placement::Ill, retry_after::retry_after};

/// What becomes of a call whose answer has this head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is an answer, whatever it says.
    Answer,
    /// It may be a refusal that another model would not make: its text tells.
    MayBeRefusal,
    /// It is none: the next deployment may have one.
    Failure(Ill),
}

pub(super) fn of(status: StatusCode, headers: &HeaderSection, clock: &dyn Clock) -> Verdict {
    let retry_after = || retry_after(headers, clock.now());
    match status.as_u16() {
        400 | 413 | 422 => Verdict::MayBeRefusal,
        401..=403 => Verdict::Failure(Ill::Refusing),
        429 => Verdict::Failure(Ill::Limited(retry_after())),
        408 | 500.. => Verdict::Failure(Ill::Failing(retry_after())),
        _ => Verdict::Answer,
    }
}

/// Whether a call may be repeated although its request may have been answered.
pub(super) fn costs_nothing(call_type: CallType) -> bool {
    matches!(call_type, CallType::TokenCount | CallType::Moderation)
}

/// How long a deployment wants to be waited for before it is called once more. `None`: calling it again is of no use, or longer than it says.
pub(super) fn worth_repeating(ill: Ill) -> Option<Option<Duration>> {
    match ill {
        Ill::Unreachable | Ill::Broken => Some(None),
        Ill::Failing(after) => Some(after),
        // It has to say when.
        Ill::Limited(after) => after.map(Some),
        Ill::Late | Ill::Refusing | Ill::Outside => None,
    }
}

#[cfg(test)]
mod tests;
