//! Step 3: which deployments may serve the call here (R7).

use std::sync::Arc;

use bailiwick_runtime::serving::ApiError;

use crate::{
    error,
    permission::Permitted,
    snapshot::{CredentialEntry, DeploymentEntry, Snapshot},
};

/// Proof that every place in it is one that the region's egress policy admits by name, and that belongs to the caller's organization. The
/// address is checked again when it is dialled. Only [`place`] makes one.
pub(crate) struct Placed {
    permitted: Permitted,
    first: Place,
    others: Vec<Place>,
}

/// A deployment, and the credential to call it with.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) deployment: Arc<DeploymentEntry>,
    pub(crate) credential: Arc<CredentialEntry>,
}

impl Placed {
    pub(crate) fn permitted(&self) -> &Permitted {
        &self.permitted
    }

    pub(crate) fn first(&self) -> &Place {
        &self.first
    }

    /// All places, in order of preference.
    pub(crate) fn into_places(self) -> impl Iterator<Item = Place> {
        std::iter::once(self.first).chain(self.others)
    }
}

/// Errors: 503 when none may be called.
pub(crate) fn place(snapshot: &Snapshot, permitted: Permitted) -> Result<Placed, ApiError> {
    let organization = permitted.key().organization;
    let settings = snapshot.settings().ok_or_else(error::not_configured)?;
    let mut places = permitted.model().deployments.iter().filter_map(|id| {
        let deployment = snapshot.deployment(id).filter(|found| found.organization == organization)?;
        settings.egress.allow_host(&deployment.prepared.host).ok()?;
        let credential =
            snapshot.credential(&deployment.credential).filter(|found| found.organization == organization)?;
        Some(Place { deployment: Arc::clone(deployment), credential: Arc::clone(credential) })
    });
    let first = places.next().ok_or_else(error::no_deployment)?;
    let others = places.collect();
    Ok(Placed { permitted, first, others })
}
