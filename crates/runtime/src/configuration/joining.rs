//! The sections of a process that joins its region: where the control plane is, and where its own certificate is kept.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Checked, Problems, SecretSource};

/// Where the region's control plane is.
#[derive(Debug)]
pub struct ControlPlaneSection {
    /// Its worker API, `host:port`.
    pub address: String,
    /// Its enrollment listener, `host:port`; needed while there is no certificate.
    pub enrollment_address: Option<String>,
    /// A one-time token; used only while there is no certificate.
    pub join_token: Option<SecretSource>,
}

/// The same as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawControlPlaneSection {
    address: Option<String>,
    enrollment_address: Option<String>,
    join_token: Option<SecretSource>,
}

impl Checked for ControlPlaneSection {
    type Raw = RawControlPlaneSection;

    fn check(raw: RawControlPlaneSection, problems: &mut Problems) -> Option<Self> {
        let address =
            problems.require("address", raw.address).and_then(|it| host_and_port("address", it, problems));
        let enrollment_address = match raw.enrollment_address {
            Some(text) => Some(host_and_port("enrollment_address", text, problems)?),
            None if raw.join_token.is_some() => {
                problems.report("enrollment_address", "is missing: it is where the join token is used");
                None
            }
            None => None,
        };
        Some(Self { address: address?, enrollment_address, join_token: raw.join_token })
    }
}

/// Where this process's certificate is kept.
#[derive(Debug)]
pub struct IdentitySection {
    /// Folder of `ca.pem`, `cert.pem` and `key.pem`.
    pub directory: PathBuf,
    /// The name that its certificate is expected to carry.
    pub name: Option<String>,
}

/// The same as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawIdentitySection {
    dir: Option<PathBuf>,
    name: Option<String>,
}

impl Checked for IdentitySection {
    type Raw = RawIdentitySection;

    fn check(raw: RawIdentitySection, problems: &mut Problems) -> Option<Self> {
        Some(Self { directory: problems.require("dir", raw.dir)?, name: raw.name })
    }
}

/// `host:port`, at most 261 characters.
pub fn host_and_port(key: &str, text: String, problems: &mut Problems) -> Option<String> {
    let good =
        text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !good || text.len() > 261 {
        problems.report(key, "expected host:port");
        return None;
    }
    Some(text)
}
