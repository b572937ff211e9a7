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

#[cfg(test)]
mod tests {
    use bailiwick_core::ports::vault::KeyScope;
    use bailiwick_domain::{id::Organization, jurisdiction::Jurisdiction, region::Regions, time::Timestamp};
    use proptest::prelude::*;
    use secrecy::SecretString;
    use zeroize::Zeroizing;

    use super::*;

    fn places() -> impl Strategy<Value = KeyPlace> {
        let eu = Jurisdiction::of(Regions::builtin().by_name_str("eu-central-1").expect("built in"));
        let organization =
            move |entropy| KeyScope::Organization(eu.mint::<Organization>(Timestamp::default(), entropy));
        let scopes = vec![KeyScope::Region, KeyScope::Backup, organization(1), organization(2)];
        let regions = ["euc1", "usw1"].map(|code| code.parse().expect("good")).to_vec();
        (prop::sample::select(regions), prop::sample::select(scopes), 1_u32..3)
            .prop_map(|(region, scope, version)| KeyPlace { region, scope, version })
    }

    proptest! {
        #[test]
        fn r4_a_data_key_unwraps_in_exactly_its_place_and_with_no_bit_changed(
            key: [u8; 32], here in places(), there in places(), bit in 0_usize..480,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
            let master = MasterKey::parse(&SecretString::from("ab".repeat(32))).expect("64 digits");
            let ours = LocalWrapping::new(&master).expect("made");
            let mut wrapped = runtime.block_on(ours.wrap(here, &Zeroizing::new(key))).expect("wrapped");
            let unwrapped = runtime.block_on(ours.unwrap(there, &wrapped));
            prop_assert_eq!(unwrapped.as_ref().map(|key| **key).ok(), (here == there).then_some(key));
            // Nonce, key and tag: 60 bytes.
            wrapped[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(runtime.block_on(ours.unwrap(here, &wrapped)).is_err());
        }
    }
}
