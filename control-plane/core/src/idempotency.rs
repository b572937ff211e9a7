//! Idempotency keys: a create call that is sent again gives what the first one made.

use std::{fmt, str::FromStr};

use bailiwick_domain::jurisdiction::{Jurisdiction, Local, Regional};

use crate::{error::UseCaseError, ports::store::Store};

/// What a caller chose: 1 to 64 printable ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// An idempotency key within its method and its owner: two organizations never share one.
pub(crate) struct Claim {
    pub(crate) method: &'static str,
    pub(crate) key: String,
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

impl IdempotencyKey {
    pub(crate) fn claim(&self, method: &'static str, owner: impl fmt::Display) -> Claim {
        Claim { method, key: format!("{owner}/{}", self.0) }
    }

    /// A key for a step of the same call.
    pub(crate) fn step(&self, name: &str) -> Self {
        Self(format!("{}/{name}", self.0))
    }
}

impl Claim {
    /// What an earlier call with the same key made.
    pub(crate) async fn made<T>(
        &self,
        store: &dyn Store,
        jurisdiction: &Jurisdiction,
    ) -> Result<Option<Local<T>>, UseCaseError>
    where
        T: FromStr + Regional,
    {
        let found = store.idempotency_fetch(self.method, &self.key).await?;
        let id = found.and_then(|text| text.parse::<T>().ok());
        Ok(id.map(|id| jurisdiction.admit(id)).transpose()?)
    }
}
