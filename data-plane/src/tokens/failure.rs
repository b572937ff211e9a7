//! Why an exchange gave no token.

use std::{fmt, time::Duration};

use super::exchanged::NoToken;

/// Why there is no token, and how long the issuer wants to be left alone.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) why: Why,
    pub(crate) after: Option<Duration>,
}

/// For the operator's log. Nothing of it is the issuer's own text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Egress,
    Refused(u16, &'static str),
    Unreachable,
    Late,
    Broken,
    Redirect,
    Garbage,
    Unavailable(u16),
    /// The key does not sign, or its endpoint has no path.
    Unusable,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Egress => {
                f.write_str("the region's egress policy does not name it as an issuer, or not its address")
            }
            Self::Refused(status, word) => write!(f, "it refused the credential: {status}, {word}"),
            Self::Unreachable => f.write_str("it cannot be reached"),
            Self::Late => f.write_str("it did not answer in time"),
            Self::Broken => f.write_str("its answer broke off, or was too large"),
            Self::Redirect => f.write_str("it redirects, and nobody follows"),
            Self::Garbage => f.write_str("its answer is no token"),
            Self::Unavailable(status) => write!(f, "it answered with status {status}"),
            Self::Unusable => f.write_str("nothing can be made of the credential to ask with"),
        }
    }
}

impl From<Why> for Failed {
    fn from(why: Why) -> Self {
        Self { why, after: None }
    }
}

impl From<Why> for NoToken {
    fn from(why: Why) -> Self {
        match why {
            Why::Egress => Self::Egress,
            Why::Refused(..) | Why::Unusable => Self::Refused,
            Why::Late => Self::Late,
            Why::Unreachable | Why::Broken | Why::Redirect | Why::Garbage | Why::Unavailable(_) => {
                Self::Unavailable
            }
        }
    }
}
