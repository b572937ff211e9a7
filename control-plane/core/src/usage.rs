//! What an organization's calls cost.

use bailiwick_domain::{id::OrganizationId, jurisdiction::Local, permission::Permission, usage::UsageEvent};

use crate::{
    caller::Caller,
    control_plane::ControlPlane,
    error::UseCaseError,
    records::{Page, PageOf, UsageQuery, UsageRow},
};

impl ControlPlane {
    /// Sums of the hourly roll-ups. Of a deleted organization too: what it owes does not go with it.
    ///
    /// # Errors
    /// There was never such an organization; the caller may not.
    pub async fn usage_query(
        &self,
        caller: &Caller,
        query: &UsageQuery,
    ) -> Result<PageOf<UsageRow>, UseCaseError> {
        caller.asks(Permission::UsageRead)?.within(query.organization, "the organization")?;
        self.organization_known(query.organization).await?;
        Ok(self.store().usage_query(query).await?)
    }

    /// Single events, newest first.
    ///
    /// # Errors
    /// As [`ControlPlane::usage_query`].
    pub async fn usage_events(
        &self,
        caller: &Caller,
        organization: Local<OrganizationId>,
        page: &Page,
    ) -> Result<PageOf<Local<UsageEvent>>, UseCaseError> {
        caller.asks(Permission::UsageRead)?.within(organization, "the organization")?;
        self.organization_known(organization).await?;
        Ok(self.store().usage_event_list(organization, page).await?)
    }

    pub(crate) async fn organization_known(&self, id: Local<OrganizationId>) -> Result<(), UseCaseError> {
        let known = self.store().organization_fetch(id).await?;
        known.map(|_| ()).ok_or(UseCaseError::NotFound { what: "the organization" })
    }
}
