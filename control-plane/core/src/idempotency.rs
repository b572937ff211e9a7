//! Idempotency keys: a create call that is sent again gives what the first one made.

use std::{
    fmt::{self, Write as _},
    str::FromStr,
};

use bailiwick_domain::{
    jurisdiction::{Local, Regional},
    key::Purpose,
    time::Timestamp,
};

use crate::{
    control_plane::ControlPlane,
    error::UseCaseError,
    ports::store::{StoreError, Transaction},
};

/// What a caller chose: 1 to 64 printable ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// An idempotency key within its method and its owner, as it is stored.
pub(crate) struct Claim {
    method: &'static str,
    key: String,
}

impl Claim {
    pub(crate) fn method(&self) -> &'static str {
        self.method
    }
}

impl FromStr for IdempotencyKey {
    type Err = IdempotencyKeyError;

    fn from_str(text: &str) -> Result<Self, IdempotencyKeyError> {
        let good = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if good { Ok(Self(text.to_owned())) } else { Err(IdempotencyKeyError) }
    }
}

/// What is wrong with an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an idempotency key is 1 to 64 printable ASCII characters without spaces; choose one for each thing that you create"
)]
pub struct IdempotencyKeyError;

/// A transaction that makes what its claim is for.
pub(crate) enum Claimed<T> {
    /// No call with this key was before us.
    First(Box<dyn Transaction>),
    /// An earlier call made this.
    Before(Local<T>),
}

impl ControlPlane {
    /// The claim of one call. Two owners never share a key; `owner` says within what the caller's key is unique. Stored is a keyed hash: what
    /// people write into their keys is their affair.
    pub(crate) fn claim(
        &self,
        method: &'static str,
        owner: impl fmt::Display,
        key: &IdempotencyKey,
    ) -> Claim {
        // Neither a method nor a key holds a space: no two claims read alike.
        let claimed = format!("{method} {} {owner}", key.0);
        let digest = self.parts.pepper.digest_for(Purpose::IdempotencyKey, claimed.as_bytes());
        let mut text = String::with_capacity(64);
        for byte in digest.0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Claim { method, key: text }
    }

    /// What an earlier call with the same key made.
    pub(crate) async fn claimed_before<T>(&self, claim: &Claim) -> Result<Option<Local<T>>, UseCaseError>
    where
        T: FromStr + Regional,
    {
        let found = self.store().idempotency_fetch(claim.method, &claim.key).await?;
        let id = found.and_then(|text| text.parse::<T>().ok());
        Ok(id.map(|id| self.parts.jurisdiction.admit(id)).transpose()?)
    }

    /// For what gets its name within its transaction: claims it there. Conflict when another call did so meanwhile.
    pub(crate) async fn claim_within(
        &self,
        transaction: &mut dyn Transaction,
        claim: &Claim,
        subject: &str,
    ) -> Result<(), StoreError> {
        transaction.idempotency_insert(claim.method, &claim.key, subject, self.now()).await
    }

    /// Begins the transaction that makes `id`. Of several calls with one key at the same time exactly one is the first.
    pub(crate) async fn begin_claimed<T>(
        &self,
        claim: &Claim,
        id: &Local<T>,
        now: Timestamp,
    ) -> Result<Claimed<T>, UseCaseError>
    where
        T: FromStr + Regional + fmt::Display,
    {
        let mut transaction = self.store().begin().await?;
        match transaction.idempotency_insert(claim.method, &claim.key, &id.get().to_string(), now).await {
            Err(StoreError::Conflict(rule)) => {
                drop(transaction);
                let before = self.claimed_before(claim).await?;
                before.map(Claimed::Before).ok_or_else(|| StoreError::Conflict(rule).into())
            }
            inserted => inserted.map(|()| Claimed::First(transaction)).map_err(UseCaseError::from),
        }
    }
}
