//! The key hierarchy of a region: the master key wraps data keys, data keys seal fields; the region's certificate authority, and its bearer tokens.
//!
//! AES-256-GCM-SIV throughout (RFC 8452: a repeated nonce reveals no more than that two plaintexts are equal), with the
//! whole place of a value as associated data: a value opens only where it was sealed (R4). Start at [`KeyHierarchy`].
//!
//! Never here: a key in an error, in `Debug`, or in a buffer that is not zeroed.

mod aad;
mod authority;
mod data_key;
mod hierarchy;
mod master_key;
mod token;
mod wrapping;

pub use authority::RegionAuthority;
pub use hierarchy::{KeyHierarchy, MasterKeySource};
pub use master_key::MasterKey;
pub use token::EdDsa;
pub use wrapping::{
    kms::{KmsCredentials, KmsKeyArn, KmsKeyArnError},
    transit::TransitKey,
};
