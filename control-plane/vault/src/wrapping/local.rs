//! A master key in this process's memory, from a file or the environment.

use std::fmt::Write as _;

use async_trait::async_trait;
use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, RandomizedNonceKey},
    hmac,
};
use bailiwick_core::ports::vault::VaultError;

use super::{DataKeyBytes, KeyPlace, Wrapping, data_key};
use crate::{MasterKey, aad};

/// Wraps with AES-256-GCM-SIV.
pub(crate) struct LocalWrapping {
    key: RandomizedNonceKey,
    name: String,
}

impl LocalWrapping {
    pub(crate) fn new(master: &MasterKey) -> Result<Self, VaultError> {
        let key =
            RandomizedNonceKey::new(&AES_256_GCM_SIV, master.bytes()).map_err(|_| VaultError::Crypto)?;
        Ok(Self { key, name: name_of(master) })
    }
}

/// A keyed hash: whoever reads it learns nothing with which a guess of the key could be checked faster than by the key's 256 bits.
fn name_of(master: &MasterKey) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, master.bytes());
    let tag = hmac::sign(&key, b"bailiwick/master-key/name/1");
    let mut name = String::from("local:");
    for byte in tag.as_ref().iter().take(8) {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

#[async_trait]
impl Wrapping for LocalWrapping {
    fn name(&self) -> &str {
        &self.name
    }

    async fn wrap(&self, place: KeyPlace, key: &DataKeyBytes) -> Result<Vec<u8>, VaultError> {
        let mut wrapped = Vec::new();
        aad::seal(&self.key, &place.aad(), key.as_ref(), &mut wrapped)?;
        Ok(wrapped)
    }

    async fn unwrap(&self, place: KeyPlace, wrapped: &[u8]) -> Result<DataKeyBytes, VaultError> {
        data_key(&aad::open(&self.key, &place.aad(), wrapped)?)
    }
}
