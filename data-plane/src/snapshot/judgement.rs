//! R7, when configuration is applied: deployments that the policy or their organization's residency does not admit stay in the snapshot, are not
//! called, and are told of. Placing a call judges again: what is kept here is for people.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bailiwick_domain::{
    egress::{AdmittedHost, EgressRefused, Residency, Target},
    id::{DeploymentId, OrganizationId},
};

use super::{DeploymentEntry, Snapshot};

/// What is refused, and what has to be judged again.
#[derive(Clone, Default)]
pub(super) struct Judgement {
    refused: Arc<HashMap<DeploymentId, EgressRefused>>,
    everything: bool,
    organizations: HashSet<OrganizationId>,
    deployments: HashSet<DeploymentId>,
}

impl Snapshot {
    /// Whether a deployment may be called, by the name of its host.
    pub(crate) fn admit<'a>(
        &'a self,
        deployment: &'a DeploymentEntry,
    ) -> Result<AdmittedHost<'a>, EgressRefused> {
        let settings = self.settings().ok_or(EgressRefused::Host)?;
        let organization = self.organization(&deployment.organization);
        let residency = organization.map_or(&Residency::Region, |organization| &organization.residency);
        let endpoint = &deployment.prepared;
        let model = deployment.upstream_model.as_str();
        settings.egress.admit(residency, Target { host: &endpoint.host, path: &endpoint.path_prefix, model })
    }

    /// Deployments that are held and may not be called.
    pub(crate) fn egress_refused_held(&self) -> u64 {
        self.judgement.refused.len() as u64
    }

    /// Judges what a change concerns, and tells what became of it.
    pub(super) fn judge_changed(&mut self) {
        let Judgement { everything, organizations, deployments, .. } = self.judgement.stale();
        let concerned: Vec<Arc<DeploymentEntry>> = if everything || !organizations.is_empty() {
            let all = self.deployments.entries();
            let of = |entry: &&Arc<DeploymentEntry>| {
                everything || organizations.contains(&entry.organization) || deployments.contains(&entry.id)
            };
            all.filter(of).map(Arc::clone).collect()
        } else {
            deployments.iter().filter_map(|id| self.deployments.find(id)).map(Arc::clone).collect()
        };
        for deployment in concerned {
            self.judge(&deployment);
        }
    }

    fn judge(&mut self, deployment: &DeploymentEntry) {
        let (id, verdict) = (deployment.id, self.admit(deployment).err());
        if verdict.as_ref() == self.judgement.refused.get(&id) {
            return;
        }
        let refused = Arc::make_mut(&mut self.judgement.refused);
        match verdict {
            Some(why) => {
                tracing::warn!(deployment = %id, reason = %why, "a deployment is not called");
                refused.insert(id, why);
            }
            None => {
                tracing::info!(deployment = %id, "a deployment may be called again");
                refused.remove(&id);
            }
        }
    }
}

impl Judgement {
    /// The policy has changed, or everything is new.
    pub(super) fn of_everything(&mut self) {
        self.everything = true;
    }

    /// An organization's residency has changed.
    pub(super) fn of_organization(&mut self, id: OrganizationId) {
        self.organizations.insert(id);
    }

    pub(super) fn of_deployment(&mut self, id: DeploymentId) {
        self.deployments.insert(id);
    }

    /// A deployment is gone.
    pub(super) fn forget(&mut self, id: &DeploymentId) {
        self.deployments.remove(id);
        if self.refused.contains_key(id) {
            Arc::make_mut(&mut self.refused).remove(id);
        }
    }

    /// Takes out what has to be judged again.
    fn stale(&mut self) -> Self {
        let refused = Arc::clone(&self.refused);
        std::mem::replace(self, Self { refused, ..Self::default() })
    }
}

#[cfg(test)]
mod tests;
