//! What wraps data keys: a master key in this process's memory, or one that never leaves a key management service.
//!
//! Whatever it is, the place of a data key (region, scope, version) is bound into the wrapping: a row that was copied to another place does not
//! unwrap there.

pub(crate) mod kms;
pub(crate) mod local;
pub(crate) mod transit;

use async_trait::async_trait;
use bailiwick_core::ports::vault::{KeyScope, VaultError};
use bailiwick_domain::region::RegionCode;
use zeroize::Zeroizing;

use crate::{aad, data_key::scope_name};

/// Bytes of a data key.
pub(crate) const DATA_KEY_BYTES: usize = 32;

/// A data key in the clear.
pub(crate) type DataKeyBytes = Zeroizing<[u8; DATA_KEY_BYTES]>;

/// A master key, wherever it is.
#[async_trait]
pub(crate) trait Wrapping: Send + Sync {
    /// Stands beside what it wrapped, and in records: no secret. Two master keys have different names.
    fn name(&self) -> &str;

    /// Encrypts a data key for its place.
    async fn wrap(&self, place: KeyPlace, key: &DataKeyBytes) -> Result<Vec<u8>, VaultError>;

    /// Decrypts a data key of exactly this place.
    async fn unwrap(&self, place: KeyPlace, wrapped: &[u8]) -> Result<DataKeyBytes, VaultError>;
}

/// Where a data key belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyPlace {
    pub(crate) region: RegionCode,
    pub(crate) scope: KeyScope,
    pub(crate) version: u32,
}

impl KeyPlace {
    /// As associated data.
    pub(crate) fn aad(self) -> Vec<u8> {
        aad::encode(&[
            b"bailiwick/data-key/1",
            self.region.as_str().as_bytes(),
            scope_name(self.scope).as_bytes(),
            &self.version.to_be_bytes(),
        ])
    }

    /// As text, for services whose contexts are maps of it.
    pub(crate) fn context(self) -> [(&'static str, String); 3] {
        [
            ("bailiwick:region", self.region.to_string()),
            ("bailiwick:scope", scope_name(self.scope)),
            ("bailiwick:key-version", self.version.to_string()),
        ]
    }
}

/// What a service gave back, if it is a data key.
pub(crate) fn data_key(bytes: &[u8]) -> Result<DataKeyBytes, VaultError> {
    bytes.try_into().map(Zeroizing::new).map_err(|_| VaultError::DoesNotOpen)
}
