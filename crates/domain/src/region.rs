//! Regions are data: adding one is configuration.

use std::{fmt, str::FromStr, sync::Arc};

use serde::Deserialize;
use url::Url;

use crate::{law::LegalJurisdiction, text::serde_as_text};

/// The short form of a region that stands in identifiers, e.g. `euc1`: 3 to 6 lower-case letters and digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionCode {
    bytes: [u8; Self::MAX_BYTES],
    len: u8,
}

impl RegionCode {
    /// The longest.
    pub const MAX_BYTES: usize = 6;

    /// The short form as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The same as bytes, all of them ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The short form of these bytes. Errors: it is none.
    pub(crate) fn from_bytes(form: &[u8]) -> Result<Self, RegionError> {
        let good = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if !(3..=Self::MAX_BYTES).contains(&form.len()) || !form.iter().all(good) {
            return Err(RegionError::Code);
        }
        let mut bytes = [0; Self::MAX_BYTES];
        bytes.iter_mut().zip(form).for_each(|(to, from)| *to = *from);
        Ok(Self { bytes, len: u8::try_from(form.len()).unwrap_or_default() })
    }
}

impl FromStr for RegionCode {
    type Err = RegionError;

    fn from_str(text: &str) -> Result<Self, RegionError> {
        Self::from_bytes(text.as_bytes())
    }
}

impl fmt::Display for RegionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for RegionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of a region, e.g. `eu-central-1`: 3 to 32 lower-case letters, digits and hyphens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionName(Arc<str>);

impl RegionName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RegionName {
    type Err = RegionError;

    fn from_str(text: &str) -> Result<Self, RegionError> {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let ends = text.starts_with('-') || text.ends_with('-');
        if !(3..=32).contains(&text.len()) || ends || !text.bytes().all(good) {
            return Err(RegionError::Name);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for RegionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

serde_as_text!(RegionCode, RegionName);

/// A region: where data stays.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// e.g. `eu-central-1`.
    pub name: RegionName,
    /// e.g. `euc1`.
    pub code: RegionCode,
    /// Whose law holds there, e.g. `eu`; never `global`.
    pub jurisdiction: LegalJurisdiction,
    /// Public base URL of the region's router, told to callers who came to the wrong one.
    #[serde(default)]
    pub endpoint: Option<Url>,
}

/// All regions of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regions(Arc<[Region]>);

impl Regions {
    /// The regions of the first release: `us-west-1`, `us-east-1` and `eu-central-1`.
    pub fn builtin() -> Self {
        let table =
            [("us-west-1", "usw1", "us"), ("us-east-1", "use1", "us"), ("eu-central-1", "euc1", "eu")];
        let regions = table.into_iter().filter_map(|(name, code, jurisdiction)| {
            let (name, code) = (name.parse().ok()?, code.parse().ok()?);
            Some(Region { name, code, jurisdiction: jurisdiction.parse().ok()?, endpoint: None })
        });
        Self(regions.collect())
    }

    /// A catalogue of one's own. Errors: none at all, a name or code that occurs twice, or a region that lies nowhere.
    pub fn new(regions: Vec<Region>) -> Result<Self, RegionError> {
        if regions.is_empty() {
            return Err(RegionError::Empty);
        }
        if let Some(nowhere) = regions.iter().find(|region| region.jurisdiction.is_global()) {
            return Err(RegionError::Nowhere { name: nowhere.name.clone() });
        }
        for (index, region) in regions.iter().enumerate() {
            let earlier = regions.iter().take(index);
            if earlier.into_iter().any(|other| other.name == region.name || other.code == region.code) {
                return Err(RegionError::Twice { name: region.name.clone(), code: region.code });
            }
        }
        Ok(Self(regions.into()))
    }

    /// The region of this name.
    pub fn by_name(&self, name: &RegionName) -> Option<&Region> {
        self.0.iter().find(|region| region.name == *name)
    }

    /// The region of this name, as text.
    pub fn by_name_str(&self, name: &str) -> Option<&Region> {
        self.0.iter().find(|region| region.name.as_str() == name)
    }

    /// The region of this short form.
    pub fn by_code(&self, code: RegionCode) -> Option<&Region> {
        self.0.iter().find(|region| region.code == code)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Region> {
        self.0.iter()
    }

    /// The same regions, with the public endpoint of one of them set. Unknown names change nothing.
    #[must_use]
    pub fn with_endpoint(&self, name: &RegionName, endpoint: Url) -> Self {
        let mut regions = self.0.to_vec();
        regions
            .iter_mut()
            .filter(|region| region.name == *name)
            .for_each(|r| r.endpoint = Some(endpoint.clone()));
        Self(regions.into())
    }
}

/// What is wrong with a region.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegionError {
    /// A bad short form.
    #[error("a region's short form is 3 to 6 lower-case letters and digits, such as euc1")]
    Code,
    /// A bad name.
    #[error("a region's name is 3 to 32 lower-case letters, digits and inner hyphens, such as eu-central-1")]
    Name,
    /// No region at all.
    #[error("at least one region is needed")]
    Empty,
    /// Data of a region stay somewhere.
    #[error("the region {name} lies in a jurisdiction, such as eu: global is none")]
    Nowhere {
        /// Its name.
        name: RegionName,
    },
    /// Names and short forms are unique.
    #[error("the region {name} ({code}) shares its name or short form with another")]
    Twice {
        /// The later one's name.
        name: RegionName,
        /// The later one's short form.
        code: RegionCode,
    },
}

#[cfg(test)]
mod tests;
