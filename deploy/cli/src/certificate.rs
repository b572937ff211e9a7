//! What a certificate's file says: its name and its dates.

use std::{fs, path::Path};

use bailiwick_domain::time::Timestamp;
use x509_parser::{extensions::GeneralName, pem::parse_x509_pem};

/// A certificate, as far as people ask.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    /// The SPIFFE id, or the subject where there is none.
    pub(crate) name: String,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

impl Certificate {
    /// The first certificate of a PEM file. The error is for people.
    pub(crate) fn read(file: &Path) -> Result<Self, String> {
        let bytes = fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        Self::parse(&bytes).ok_or_else(|| format!("{} is not a certificate (PEM)", file.display()))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (_rest, pem) = parse_x509_pem(bytes).ok()?;
        let certificate = pem.parse_x509().ok()?;
        let names = certificate.subject_alternative_name().ok().flatten();
        let uri = names.and_then(|names| {
            names.value.general_names.iter().find_map(|name| match name {
                GeneralName::URI(uri) => Some((*uri).to_owned()),
                _ => None,
            })
        });
        let validity = certificate.validity();
        let at = |seconds: i64| Timestamp::from_micros(seconds.saturating_mul(1_000_000));
        Some(Self {
            name: uri.unwrap_or_else(|| certificate.subject().to_string()),
            not_before: at(validity.not_before.timestamp()),
            not_after: at(validity.not_after.timestamp()),
        })
    }
}
