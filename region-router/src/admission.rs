//! Whether a caller belongs here, told from the request's head alone (R6).
//!
//! The region stands in the key's prefix, so no look-up is made, and the answer says nothing about whether a key is valid. A key of this region
//! is checked for shape and checksum, so a mistyped one costs no worker anything.

use bailiwick_domain::{
    guard::Guard,
    jurisdiction::Jurisdiction,
    key::{self, PresentedKey},
    region::{RegionCode, Regions},
};
use bailiwick_runtime::serving::{ApiError, HeaderSection, NotPresented, presented_key};

use crate::error;

/// The rule of one region.
pub(crate) struct Admission {
    jurisdiction: Jurisdiction,
    regions: Regions,
}

/// Proof that a request's key is of this region and well-formed. Only [`Admission::judge`] makes one.
pub(crate) struct Admitted(());

impl Admission {
    pub(crate) fn new(jurisdiction: Jurisdiction, regions: Regions) -> Self {
        Self { jurisdiction, regions }
    }

    /// Judges a head, by its fields. Errors: 401 without a good key, 421 for another region's.
    pub(crate) fn judge(&self, headers: &HeaderSection) -> Result<Admitted, ApiError> {
        let key = presented_key(headers).map_err(|problem| match problem {
            NotPresented::Missing => error::missing_key(),
            NotPresented::Ambiguous => error::invalid_key(),
        })?;
        let code = key::region_of_prefix(key).ok_or_else(error::invalid_key)?;
        self.check_region(code)?;
        let presented = PresentedKey::parse(key).map_err(|_| error::invalid_key())?;
        self.check_region(presented.region_code())?;
        Ok(Admitted(()))
    }

    /// Errors: 421 for another region, with where to go; 401 for one that does not exist.
    fn check_region(&self, code: RegionCode) -> Result<(), ApiError> {
        if code == self.jurisdiction.code() || !Guard::RouterKeyRegion.stands() {
            return Ok(());
        }
        let home = self.regions.by_code(code).ok_or_else(error::invalid_key)?;
        Err(error::wrong_region(self.jurisdiction.region(), home))
    }

    /// Judges a region that was named, for signing up. Errors: 421 for another, 400 for none that exists.
    pub(crate) fn check_region_name(&self, name: &str) -> Result<(), ApiError> {
        let home = self.regions.by_name_str(name).ok_or_else(|| {
            let known: Vec<&str> = self.regions.iter().map(|region| region.name.as_str()).collect();
            error::invalid_field("region", format!("region is one of {}", known.join(", ")))
        })?;
        if home.code == self.jurisdiction.code() || !Guard::RouterSignupRegion.stands() {
            return Ok(());
        }
        Err(error::wrong_region(self.jurisdiction.region(), home))
    }

    /// This region's name.
    pub(crate) fn region_name(&self) -> &str {
        self.jurisdiction.region().name.as_str()
    }
}

#[cfg(test)]
mod tests;
