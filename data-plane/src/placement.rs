//! Step 3: which deployments may serve the call here (R7).

use std::sync::Arc;

use bailiwick_domain::egress::AdmittedHost;
use bailiwick_runtime::serving::ApiError;

use crate::{
    error,
    permission::Permitted,
    snapshot::{CredentialEntry, DeploymentEntry, Snapshot},
};

/// Proof that every place in it is one that the region's egress policy and the organization's residency admit by name, and that belongs to the
/// caller's organization. Only [`place`] makes one.
pub(crate) struct Placed {
    permitted: Permitted,
    first: Place,
    others: Vec<Place>,
}

/// A deployment, the credential to call it with, and the proof that its host may be dialled: whoever dials has to show it, and gets each
/// address judged by it.
#[derive(Clone)]
pub(crate) struct Place {
    deployment: Arc<DeploymentEntry>,
    credential: Arc<CredentialEntry>,
    host: AdmittedHost,
}

impl Place {
    pub(crate) fn deployment(&self) -> &Arc<DeploymentEntry> {
        &self.deployment
    }

    pub(crate) fn credential(&self) -> &CredentialEntry {
        &self.credential
    }

    pub(crate) fn host(&self) -> &AdmittedHost {
        &self.host
    }
}

impl Placed {
    pub(crate) fn permitted(&self) -> &Permitted {
        &self.permitted
    }

    pub(crate) fn first(&self) -> &Place {
        &self.first
    }

    /// All places, in order of preference.
    pub(crate) fn places(&self) -> impl Iterator<Item = &Place> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The same, for whoever goes to them.
    pub(crate) fn into_places(self) -> impl Iterator<Item = Place> {
        std::iter::once(self.first).chain(self.others)
    }
}

/// Errors: 503 when none may be called.
pub(crate) fn place(snapshot: &Snapshot, permitted: Permitted) -> Result<Placed, ApiError> {
    let organization = permitted.key().organization;
    snapshot.settings().ok_or_else(error::not_configured)?;
    let mut places = permitted.model().deployments.iter().filter_map(|id| {
        let deployment = snapshot.deployment(id).filter(|found| found.organization == organization)?;
        let host = snapshot.admit(deployment).ok()?;
        let credential =
            snapshot.credential(&deployment.credential).filter(|found| found.organization == organization)?;
        Some(Place { deployment: Arc::clone(deployment), credential: Arc::clone(credential), host })
    });
    let first = places.next().ok_or_else(error::no_deployment)?;
    let others = places.collect();
    Ok(Placed { permitted, first, others })
}
