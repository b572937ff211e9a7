//! Step 2: may this key use this model?

use bailiwick_runtime::serving::ApiError;

use crate::{
    authentication::Authenticated,
    error,
    snapshot::{KeyEntry, ModelEntry, Snapshot},
};

/// Proof that the caller may use the model. Only [`permit`] makes one.
pub(crate) struct Permitted<'a> {
    key: KeyEntry,
    model: &'a ModelEntry,
}

impl<'a> Permitted<'a> {
    pub(crate) fn key(&self) -> &KeyEntry {
        &self.key
    }

    pub(crate) fn model(&self) -> &'a ModelEntry {
        self.model
    }
}

/// Errors: 404 for a model that the organization does not have, 403 for one that the key may not use.
pub(crate) fn permit<'a>(
    snapshot: &'a Snapshot,
    caller: Authenticated,
    model: &str,
) -> Result<Permitted<'a>, ApiError> {
    let key = caller.into_key();
    let found = snapshot.model(&key.organization, model).ok_or_else(error::model_not_found)?;
    if !key.allows(model) {
        return Err(error::model_not_allowed());
    }
    Ok(Permitted { model: found, key })
}
