//! R2: a control plane cannot touch a foreign identifier.
//!
//! Store functions take only a [`Local`] identifier, and only [`Jurisdiction`] makes one. There is no other way to get
//! one: the field is private, and nothing here deserializes into it.

use std::{fmt, ops::Deref};

use crate::{
    guard::Guard,
    region::{Region, RegionCode},
};

/// Something that names its region.
pub trait Regional {
    /// The region that it names.
    fn region_code(&self) -> RegionCode;
}

/// The authority of one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jurisdiction {
    region: Region,
}

impl Jurisdiction {
    /// The jurisdiction of a region.
    pub fn of(region: &Region) -> Self {
        Self { region: region.clone() }
    }

    /// The region.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The region's short form.
    pub fn code(&self) -> RegionCode {
        self.region.code
    }

    /// Admits what names this region. Errors: [`ForeignRegion`] for anything else.
    pub fn admit<T: Regional>(&self, value: T) -> Result<Local<T>, ForeignRegion> {
        let found = value.region_code();
        if found == self.region.code {
            Ok(Local(value))
        } else {
            Err(ForeignRegion { found, expected: self.region.code })
        }
    }

    /// The same, where a guard of this name does it: a build for development can go without it, see [`Guard`].
    pub fn admit_at<T: Regional>(&self, guard: Guard, value: T) -> Result<Local<T>, ForeignRegion> {
        if guard.stands() { self.admit(value) } else { Ok(Local(value)) }
    }
}

impl Jurisdiction {
    /// For what this crate makes itself, of this region by construction.
    pub(crate) fn admitted<T: Regional>(&self, value: T) -> Local<T> {
        debug_assert_eq!(value.region_code(), self.region.code);
        Local(value)
    }
}

/// Proof that a value names this process's region. It cannot be made by hand:
///
/// ```compile_fail,E0423
/// let forged = bailiwick_domain::jurisdiction::Local("org_usw1_01JD0W6KQ4V6J5T6T9N2X8Y3ZB");
/// ```
///
/// nor be read from anywhere:
///
/// ```compile_fail,E0277
/// fn read<T: serde::de::DeserializeOwned>() {}
/// read::<bailiwick_domain::jurisdiction::Local<bailiwick_domain::id::OrganizationId>>();
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Local<T>(T);

impl<T> Local<T> {
    /// The value.
    pub fn get(&self) -> &T {
        &self.0
    }

    /// The value, without the proof.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Local<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Display> fmt::Display for Local<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: fmt::Debug> fmt::Debug for Local<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A value names another region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it belongs to the region {found}; this is {expected}")]
pub struct ForeignRegion {
    /// The region that it names.
    pub found: RegionCode,
    /// This process's region.
    pub expected: RegionCode,
}

#[cfg(test)]
mod tests;
