//! What a call shows where its credential is exchanged for tokens, and what becomes of it when there is none, or none that the provider takes.

use std::time::Instant;

use bailiwick_runtime::serving::ApiError;
use http::StatusCode;

use super::sending::Sending;
use crate::{
    error,
    metrics::UpstreamFailure,
    placement::{Ill, Place},
    snapshot::Secret,
    tokens::{NoToken, Shown},
};

/// Why a call shows nothing.
pub(super) enum NotShown {
    /// The provider takes no such tokens.
    Unfit,
    /// There is none. The next deployment may have another credential.
    None(Ill, ApiError),
}

impl Sending<'_, '_> {
    /// The token to show at a place; `None` where the credential is shown, or signs. `refused`: one that the provider has just refused.
    pub(super) async fn shown(
        &self,
        place: &Place<'_>,
        refused: Option<u64>,
    ) -> Result<Option<Shown>, NotShown> {
        let Secret::Exchanged(secret) = &place.credential().secret else { return Ok(None) };
        if !secret.fits(place.deployment().dialect) {
            return Err(NotShown::Unfit);
        }
        let token = self.timing.waiting(self.upstream.tokens.of(secret, refused)).await;
        token.map(Some).map_err(|why| {
            self.upstream.metrics.upstream_failed(UpstreamFailure::NoToken);
            NotShown::None(ill(why), error_of(why))
        })
    }

    /// Whether a provider's answer speaks of the token alone, so that the call shall be tried there once more with a newer one: it is not authenticated (a role that lacks
    /// is a 403 with most), and a newer token may be had.
    pub(super) fn is_stale(&self, place: &Place<'_>, status: StatusCode, shown: &Shown) -> bool {
        let Secret::Exchanged(secret) = &place.credential().secret else { return false };
        status == StatusCode::UNAUTHORIZED
            && self.has_attempts_left()
            && secret.doubts(shown.serial, Instant::now())
    }
}

/// It counts as a refused credential: the next call would have none either. Where the keeper was busy, the next call may find one.
fn ill(why: NoToken) -> Ill {
    match why {
        NoToken::Egress => Ill::Outside,
        NoToken::Refused | NoToken::Unavailable => Ill::Refusing,
        NoToken::Late | NoToken::Overloaded => Ill::Unreachable,
    }
}

fn error_of(why: NoToken) -> ApiError {
    match why {
        NoToken::Refused => error::token_refused(),
        NoToken::Egress => error::issuer_refused(),
        NoToken::Unavailable | NoToken::Late | NoToken::Overloaded => error::no_token(),
    }
}

#[cfg(test)]
mod tests;
