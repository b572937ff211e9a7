//! A secret that is exchanged for tokens, and the newest of them.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use bailiwick_dialects::Dialect;
use bailiwick_domain::{
    id::{CredentialId, OrganizationId},
    provider::Endpoint,
    provider_secret::{EntraClient, GoogleKey},
};
use http::HeaderValue;
use tokio::sync::Notify;

/// A provider that refuses tokens makes us have a new one issued no more often than this. Every other refusal is the deployment's own: it may lack a role.
const DOUBT_EVERY: Duration = Duration::from_secs(10);

/// What is exchanged.
pub(crate) enum Grant {
    /// A client's secret.
    Entra(EntraClient),
    /// A signed assertion.
    Google(GoogleKey),
}

impl Grant {
    /// Whom it is exchanged with.
    pub(super) fn issuer(&self) -> &Endpoint {
        match self {
            Self::Entra(client) => client.issuer(),
            Self::Google(key) => key.issuer(),
        }
    }

    /// Whether tokens of this kind are what such a provider takes. Both have endpoints that speak as OpenAI does.
    fn fits(&self, dialect: Dialect) -> bool {
        match self {
            Self::Entra(_) => matches!(dialect, Dialect::AzureOpenAi | Dialect::OpenAiCompatible),
            Self::Google(_) => matches!(dialect, Dialect::Vertex | Dialect::OpenAiCompatible),
        }
    }
}

/// One credential's. It goes with its credential: one that is replaced has tokens of its own, and those of the old one are cleared when the last call is done with them.
pub(crate) struct Exchanged {
    /// For logs.
    pub(super) credential: CredentialId,
    /// Whose it is: nobody's exchanges take all places.
    pub(super) organization: OrganizationId,
    pub(super) grant: Grant,
    newest: ArcSwapOption<Token>,
    trouble: ArcSwapOption<Trouble>,
    /// Whether a call came for it since it was last renewed. One that nobody uses is left to end.
    pub(super) used: AtomicBool,
    /// Whether the keeper was asked, and has not told yet.
    pub(super) asked: AtomicBool,
    /// Wakes the calls that wait.
    pub(super) told: Notify,
    /// Counts what the keeper told.
    turn: AtomicU64,
    /// The token that was last refused, and when. Locked at refusals alone.
    doubted: Mutex<Option<(u64, Instant)>>,
}

/// A token.
pub(super) struct Token {
    /// `Bearer …`, cleared when the last call is done with it.
    pub(super) authorization: HeaderValue,
    /// Counts up.
    pub(super) serial: u64,
    /// Not shown from then on.
    pub(super) ends: Instant,
}

/// Why there is no newer token.
struct Trouble {
    why: NoToken,
    /// In a row.
    times: u32,
    /// Nobody asks before.
    until: Instant,
}

/// A token, as a provider is shown it.
pub(crate) struct Shown {
    /// `Authorization` header.
    pub(crate) authorization: HeaderValue,
    /// Names the token, for whoever is told that it is refused.
    pub(crate) serial: u64,
}

/// Why a call has no token to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoToken {
    /// Whoever issues them does not take the secret.
    #[error("whoever issues tokens refuses the credential")]
    Refused,
    /// Nobody may ask there.
    #[error("the region's egress policy does not let tokens be had there")]
    Egress,
    /// It cannot be reached, or its answer is none.
    #[error("whoever issues tokens cannot be reached, or answers with something else")]
    Unavailable,
    /// It took too long.
    #[error("the token did not come in time")]
    Late,
    /// Too many credentials wait.
    #[error("too many credentials wait for tokens")]
    Overloaded,
}

impl Exchanged {
    pub(crate) fn new(credential: CredentialId, organization: OrganizationId, grant: Grant) -> Self {
        Self {
            credential,
            organization,
            grant,
            newest: ArcSwapOption::empty(),
            trouble: ArcSwapOption::empty(),
            used: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            told: Notify::new(),
            turn: AtomicU64::new(0),
            doubted: Mutex::default(),
        }
    }

    /// Whether its tokens are what such a provider takes.
    pub(crate) fn fits(&self, dialect: Dialect) -> bool {
        self.grant.fits(dialect)
    }

    /// The newest token, if it has not ended, and is newer than one that was refused.
    pub(super) fn shown(&self, now: Instant, refused: Option<u64>) -> Option<Shown> {
        let newest = self.newest.load();
        let token = newest.as_ref()?;
        if now >= token.ends || refused.is_some_and(|serial| token.serial <= serial) {
            return None;
        }
        // Written once in a token's life, so that cores do not take the line from each other.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        Some(Shown { authorization: token.authorization.clone(), serial: token.serial })
    }

    /// Why no call shall wait now: the last exchange failed, and it is too early for another, or another call waits for that one.
    pub(super) fn trouble(&self, now: Instant) -> Option<NoToken> {
        let trouble = self.trouble.load();
        let trouble = trouble.as_ref()?;
        (now < trouble.until || self.asked.load(Ordering::Acquire)).then_some(trouble.why)
    }

    /// Whether a call whose token was refused shall be tried with a newer one: there is one, or one may be had.
    pub(crate) fn doubts(&self, refused: u64, now: Instant) -> bool {
        if self.newest.load().as_ref().is_some_and(|token| token.serial > refused) {
            return true;
        }
        let mut doubted = self.doubted.lock().unwrap_or_else(PoisonError::into_inner);
        match *doubted {
            Some((serial, _)) if serial == refused => true,
            Some((_, at)) if now.saturating_duration_since(at) < DOUBT_EVERY => false,
            _ => {
                *doubted = Some((refused, now));
                true
            }
        }
    }

    /// Exchanges that failed in a row.
    pub(super) fn failures(&self) -> u32 {
        self.trouble.load().as_ref().map_or(0, |trouble| trouble.times)
    }

    /// A token was issued. The turn is newer than every other.
    pub(super) fn renewed(&self, token: Token, turn: u64) {
        self.newest.store(Some(token.into()));
        self.trouble.store(None);
        self.tell(turn);
    }

    /// None was. What is held goes on being shown until it ends.
    pub(super) fn failed(&self, why: NoToken, times: u32, until: Instant, turn: u64) {
        self.trouble.store(Some(Trouble { why, times, until }.into()));
        self.tell(turn);
    }

    fn tell(&self, turn: u64) {
        self.turn.store(turn, Ordering::Relaxed);
        self.asked.store(false, Ordering::Release);
        self.told.notify_waiters();
    }

    /// Whether nothing was told since this turn.
    pub(super) fn is_turn(&self, turn: u64) -> bool {
        self.turn.load(Ordering::Relaxed) == turn
    }
}

impl fmt::Debug for Exchanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exchanged({}, [redacted])", self.credential)
    }
}
