//! The sections that every process has: where it is, and where it tells its operators how it is.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bailiwick_domain::jurisdiction::Jurisdiction;
use bailiwick_domain::region::{Region, RegionName, Regions};
use bailiwick_domain::spiffe::TrustDomain;
use serde::Deserialize;
use url::Url;

use super::{Checked, ConfigurationError, Problems};

/// `[region]`: the region that this process belongs to, and what it knows of the others.
#[derive(Debug, Clone)]
pub struct RegionSection {
    /// This region's authority over identifiers.
    pub jurisdiction: Jurisdiction,
    /// This region's certificate authority: `<region>.<installation>`.
    pub trust_domain: TrustDomain,
    /// All regions, with their public endpoints where they are known.
    pub regions: Regions,
}

/// `[region]` as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRegionSection {
    name: Option<String>,
    installation: Option<String>,
    regions_file: Option<PathBuf>,
    #[serde(default)]
    endpoints: Vec<RawEndpoint>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEndpoint {
    name: RegionName,
    url: Url,
}

impl RegionSection {
    /// The region itself.
    pub fn region(&self) -> &Region {
        self.jurisdiction.region()
    }
}

impl Checked for RegionSection {
    type Raw = RawRegionSection;

    fn check(raw: RawRegionSection, problems: &mut Problems) -> Option<Self> {
        let regions = match &raw.regions_file {
            None => Some(Regions::builtin()),
            Some(file) => read_regions(file).map_err(|problem| problems.report("regions_file", problem)).ok(),
        };
        let name = problems.require("name", raw.name);
        let installation = problems.require("installation", raw.installation);

        let (regions, name, installation) =
            (with_endpoints(regions?, raw.endpoints, problems), name?, installation?);
        let Some(region) = regions.by_name_str(&name) else {
            let known: Vec<&str> = regions.iter().map(|region| region.name.as_str()).collect();
            problems.report("name", format_args!("no such region; known are {}", known.join(", ")));
            return None;
        };
        let trust_domain = TrustDomain::new(region.name.clone(), &installation)
            .map_err(|error| problems.report("installation", error))
            .ok()?;
        Some(Self { jurisdiction: Jurisdiction::of(region), trust_domain, regions })
    }
}

fn with_endpoints(regions: Regions, endpoints: Vec<RawEndpoint>, problems: &mut Problems) -> Regions {
    endpoints.into_iter().fold(regions, |regions, endpoint| {
        if regions.by_name(&endpoint.name).is_none() {
            problems.report("endpoints", format_args!("there is no region {}", endpoint.name));
        }
        regions.with_endpoint(&endpoint.name, endpoint.url)
    })
}

/// A catalogue of regions: `[[regions]]` with `name`, `code`, `jurisdiction` and, where known, `endpoint`.
fn read_regions(file: &Path) -> Result<Regions, String> {
    struct Catalogue(Vec<Region>);

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct RawCatalogue {
        regions: Vec<Region>,
    }

    impl Checked for Catalogue {
        type Raw = RawCatalogue;

        fn check(raw: RawCatalogue, _problems: &mut Problems) -> Option<Self> {
            Some(Self(raw.regions))
        }
    }

    let text = std::fs::read_to_string(file)
        .map_err(|source| ConfigurationError::Unreadable { path: file.to_owned(), source })
        .map_err(|error| error.to_string())?;
    let Catalogue(regions) = super::without_environment(&text).map_err(|error| error.to_string())?;
    Regions::new(regions).map_err(|error| error.to_string())
}

/// `[ops]`: where metrics and health are served, in plain HTTP; keep it off public networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpsSection {
    /// Where to listen.
    pub listen: SocketAddr,
}

/// `[ops]` as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawOpsSection {
    listen: Option<SocketAddr>,
}

impl Checked for OpsSection {
    type Raw = RawOpsSection;

    fn check(raw: RawOpsSection, problems: &mut Problems) -> Option<Self> {
        Some(Self { listen: problems.require("listen", raw.listen)? })
    }
}
