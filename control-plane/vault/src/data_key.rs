//! Data keys: seal and open fields.
//!
//! A sealed value is: format (1 byte, 1) ‖ version of the data key (4 bytes, big endian) ‖ nonce (12 bytes) ‖ ciphertext ‖ tag (16 bytes).

use aws_lc_rs::aead::{AES_256_GCM_SIV, RandomizedNonceKey};
use bailiwick_core::ports::vault::{DataKey, KeyScope, SealContext, Sealed, VaultError};
use bailiwick_domain::region::RegionCode;
use zeroize::Zeroizing;

use crate::aad;

const FORMAT: u8 = 1;

/// An unwrapped data key.
pub(crate) struct LocalDataKey {
    region: RegionCode,
    scope: KeyScope,
    version: u32,
    key: RandomizedNonceKey,
}

impl LocalDataKey {
    pub(crate) fn new(
        region: RegionCode,
        scope: KeyScope,
        version: u32,
        key: &[u8],
    ) -> Result<Self, VaultError> {
        let key = RandomizedNonceKey::new(&AES_256_GCM_SIV, key).map_err(|_| VaultError::Crypto)?;
        Ok(Self { region, scope, version, key })
    }

    fn aad(&self, context: SealContext<'_>) -> Vec<u8> {
        aad::encode(&[
            b"bailiwick/field/1",
            self.region.as_str().as_bytes(),
            scope_name(self.scope).as_bytes(),
            context.table.as_bytes(),
            context.column.as_bytes(),
            context.row.as_bytes(),
            &self.version.to_be_bytes(),
        ])
    }
}

/// The text form of a scope in associated data: an organization's identifier, `region`, or `backup`.
pub(crate) fn scope_name(scope: KeyScope) -> String {
    match scope {
        KeyScope::Region => "region".to_owned(),
        KeyScope::Organization(id) => id.to_string(),
        KeyScope::Backup => "backup".to_owned(),
    }
}

impl DataKey for LocalDataKey {
    fn version(&self) -> u32 {
        self.version
    }

    fn seal(&self, context: SealContext<'_>, plaintext: &[u8]) -> Result<Sealed, VaultError> {
        let mut sealed = vec![FORMAT];
        sealed.extend_from_slice(&self.version.to_be_bytes());
        aad::seal(&self.key, &self.aad(context), plaintext, &mut sealed)?;
        Ok(Sealed(sealed))
    }

    fn open(&self, context: SealContext<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let (header, rest) = sealed.0.split_first_chunk::<5>().ok_or(VaultError::DoesNotOpen)?;
        let [format, version @ ..] = *header;
        if format != FORMAT {
            return Err(VaultError::DoesNotOpen);
        }
        let found = u32::from_be_bytes(version);
        if found != self.version {
            return Err(VaultError::WrongVersion { found, expected: self.version });
        }
        aad::open(&self.key, &self.aad(context), rest)
    }
}

#[cfg(test)]
mod tests;
