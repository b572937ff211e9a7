//! Residency: where an organization's calls may be processed (R7), and whether a deployment's endpoint lies there.

use std::sync::Arc;

use bailiwick_domain::{
    egress::{EgressRefused, Residency, Target},
    guard::Guard,
    id::OrganizationId,
    jurisdiction::Local,
    names::ModelName,
    permission::Permission,
    provider::Endpoint,
};

use crate::{
    caller::Caller,
    control_plane::{ControlPlane, Mutation},
    error::UseCaseError,
    organization::missing,
    records::{Chain, ChangedResource, Revision},
};

impl ControlPlane {
    /// An organization's residency.
    ///
    /// # Errors
    /// There is no such organization; the caller may not.
    pub async fn residency_fetch(
        &self,
        caller: &Caller,
        organization: Local<OrganizationId>,
    ) -> Result<Residency, UseCaseError> {
        self.organization_permit(caller, Permission::OrganizationRead, organization).await?;
        Ok(self.organization_active(organization).await?.residency)
    }

    /// Changes an organization's residency. The record says all that is listed: the subject is the organization, and what it accepts from now on.
    ///
    /// # Errors
    /// There is no such organization; the caller may not.
    pub async fn residency_set(
        &self,
        caller: &Caller,
        organization: Local<OrganizationId>,
        residency: &Residency,
    ) -> Result<Revision, UseCaseError> {
        let permit = self.organization_permit(caller, Permission::ResidencyWrite, organization).await?;
        let chain = Chain::Organization(organization);
        let keys = self.keys(chain).await?;
        let mut transaction = self.store().begin().await?;
        transaction.organization_set_residency(organization, residency).await.map_err(missing)?;
        let mutation = Mutation {
            chain,
            action: "organization.residency",
            subject: format!("{organization} {residency}"),
            changes: &[ChangedResource::Organization(organization)],
        };
        Ok(self.commit(&permit, &keys, transaction, mutation).await?)
    }

    /// Whether a worker would call the endpoint for an organization of this residency, as far as its name and model tell. An address literal can be
    /// judged too; what a name resolves to is judged by the worker, when it dials.
    ///
    /// # Errors
    /// Why not.
    pub fn judge_endpoint(
        &self,
        residency: &Residency,
        endpoint: &Endpoint,
        upstream_model: &ModelName,
    ) -> Result<(), EgressRefused> {
        let host = endpoint.host().into();
        let target = Target { host: &host, path: endpoint.url().path(), model: upstream_model.as_str() };
        let admitted = self.parts.settings.egress.admit(residency, target)?;
        match host.parse() {
            Ok(address) => admitted.address(address).map(|_| ()),
            Err(_) => Ok(()),
        }
    }

    /// The same as an answer to whoever asks for the endpoint.
    pub(crate) fn check_endpoint(
        &self,
        residency: &Residency,
        endpoint: &Endpoint,
        upstream_model: &ModelName,
    ) -> Result<(), UseCaseError> {
        let verdict = self.judge_endpoint(residency, endpoint, upstream_model);
        let verdict = if Guard::EgressAtCreation.stands() { verdict } else { Ok(()) };
        verdict.map_err(|refused| {
            let message = format!("{}: {refused}; {}", endpoint.host(), refused.hint());
            UseCaseError::refused("egress_refused", message)
        })
    }

    /// Whether a worker may ask there for tokens, as far as its name tells.
    ///
    /// # Errors
    /// It may not, and what to do about it.
    pub(crate) fn check_issuer(&self, issuer: &Endpoint) -> Result<(), UseCaseError> {
        let host: Arc<str> = issuer.host().into();
        let judge = || {
            let admitted = self.parts.settings.egress.admit_issuer(&host, issuer.port())?;
            match host.parse() {
                Ok(address) => admitted.host().address(address).map(|_| ()),
                Err(_) => Ok(()),
            }
        };
        let verdict = if Guard::EgressAtCreation.stands() { judge() } else { Ok(()) };
        verdict.map_err(|refused: EgressRefused| {
            let message = format!("{host} issues the credential's tokens: {refused}; {}", refused.hint());
            UseCaseError::refused("egress_refused", message)
        })
    }
}
