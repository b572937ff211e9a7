//! Step 1: who calls. From the head and the snapshot alone; nothing is asked of anyone (R9).

use std::time::Instant;

use bailiwick_domain::{
    guard::Guard,
    key::{self, PresentedKey},
    organization::OnStale,
    time::Clock,
};
use bailiwick_runtime::serving::{ApiError, HeaderSection, NotPresented, presented_key};

use crate::{
    error,
    gateway::Here,
    origin::Origin,
    snapshot::{KeyEntry, Snapshot},
};

/// Proof that the caller holds a key of this region that is valid now, and calls from where it may. Only [`authenticate`] makes one.
pub(crate) struct Authenticated {
    key: KeyEntry,
}

impl Authenticated {
    pub(crate) fn key(&self) -> &KeyEntry {
        &self.key
    }

    pub(crate) fn into_key(self) -> KeyEntry {
        self.key
    }
}

/// Errors: 401 (one text for all that is wrong with a key), 421 for another region's key, 403 for a suspended organization, or from where it or the key
/// takes no calls; 503 when this worker cannot know.
pub(crate) fn authenticate(
    here: &Here,
    snapshot: &Snapshot,
    headers: &HeaderSection,
    origin: Origin,
    clock: &dyn Clock,
    instant: Instant,
) -> Result<Authenticated, ApiError> {
    let text = presented_key(headers).map_err(|problem| match problem {
        NotPresented::Missing => error::missing_key(),
        NotPresented::Ambiguous => error::invalid_key(),
    })?;
    check_region(here, key::region_of_prefix(text).ok_or_else(error::invalid_key)?)?;
    let presented = PresentedKey::parse(text).map_err(|_| error::invalid_key())?;
    check_region(here, presented.region_code())?;
    let settings = snapshot.settings().ok_or_else(error::not_configured)?;
    let key = snapshot.key(&presented.key_id()).ok_or_else(error::invalid_key)?;
    let is_the_stored_one =
        settings.pepper.verify(&presented, &key.digest) || !Guard::WorkerKeyDigest.stands();
    if !is_the_stored_one || key.expires_at.is_some_and(|at| at <= clock.now()) {
        return Err(error::invalid_key());
    }
    let organization = snapshot.organization(&key.organization).ok_or_else(error::invalid_key)?;
    if organization.suspended {
        return Err(error::suspended());
    }
    // R12: past its lease, this worker may have missed a revocation.
    if organization.on_stale == OnStale::Refuse && !snapshot.fresh_at(instant) {
        return Err(error::stale());
    }
    // Last, so that nobody without a valid key learns anything of it.
    if !origin.is_within(&organization.allowed_ranges) || !origin.is_within(&key.allowed_ranges) {
        return Err(error::address_not_allowed(origin.address()));
    }
    Ok(Authenticated { key })
}

fn check_region(here: &Here, code: bailiwick_domain::region::RegionCode) -> Result<(), ApiError> {
    if code == here.jurisdiction.code() || !Guard::WorkerKeyRegion.stands() {
        return Ok(());
    }
    let home = here.regions.by_code(code).ok_or_else(error::invalid_key)?;
    Err(error::wrong_region(here.jurisdiction.region(), home))
}
