//! Identifiers of every kind (R1, R2).

use std::{fmt::Display, str::FromStr};

use bailiwick_domain::{
    id::{
        AuditId, BackupId, CredentialId, DeploymentId, ModelId, OrganizationId, RotationId, RouterId,
        WorkerId,
    },
    jurisdiction::{Jurisdiction, Regional},
    key::{CaFingerprint, JoinTokenId, KeyId},
    region::{RegionCode, RegionName, Regions},
    spiffe::SpiffeId,
    usage::{EventId, RequestId},
};

/// One identity has one text; it is of the region that the text names, and at home nowhere else.
pub fn identifiers(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    regional::<OrganizationId>(text);
    regional::<CredentialId>(text);
    regional::<ModelId>(text);
    regional::<DeploymentId>(text);
    regional::<WorkerId>(text);
    regional::<RouterId>(text);
    regional::<AuditId>(text);
    regional::<RotationId>(text);
    regional::<BackupId>(text);
    regional::<KeyId>(text);
    regional::<JoinTokenId>(text);
    exact::<RegionCode>(text);
    exact::<RegionName>(text);
    exact::<CaFingerprint>(text);
    exact::<EventId>(text);
    exact::<RequestId>(text);
    if let Some(id) = exact::<SpiffeId>(text) {
        let region = id.trust_domain.region().as_str();
        assert!(text.starts_with(&format!("spiffe://{region}.")), "a region that the text does not name");
    }
}

fn exact<T: FromStr + Display>(text: &str) -> Option<T> {
    let id: T = text.parse().ok()?;
    assert_eq!(id.to_string(), text, "a second text of one identity");
    Some(id)
}

fn regional<T: FromStr + Display + Regional + Copy>(text: &str) {
    let Some(id) = exact::<T>(text) else { return };
    assert_eq!(
        text.split('_').nth(1),
        Some(id.region_code().as_str()),
        "a region that the text does not name"
    );
    for region in Regions::builtin().iter() {
        let admitted = Jurisdiction::of(region).admit(id).is_ok();
        assert_eq!(admitted, region.code == id.region_code(), "admitted by {}", region.code);
    }
}
