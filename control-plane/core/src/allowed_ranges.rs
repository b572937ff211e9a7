//! From where calls are taken: of a whole organization, and of one key. Both hold. The admin API is not bound by them: who lists the wrong ranges can
//! always list others.

use bailiwick_domain::{
    address::AllowedRanges, id::OrganizationId, jurisdiction::Local, key::KeyId, permission::Permission,
};

use crate::{
    caller::Caller,
    control_plane::{ControlPlane, Mutation},
    error::UseCaseError,
    key::Key,
    organization::missing,
    records::{Chain, ChangedResource, Revision},
};

impl ControlPlane {
    /// From where an organization's calls are taken.
    ///
    /// # Errors
    /// There is no such organization; the caller may not.
    pub async fn allowed_ranges_fetch(
        &self,
        caller: &Caller,
        organization: Local<OrganizationId>,
    ) -> Result<AllowedRanges, UseCaseError> {
        self.organization_permit(caller, Permission::KeyRead, organization).await?;
        Ok(self.organization_active(organization).await?.allowed_ranges)
    }

    /// Changes from where an organization's calls are taken.
    ///
    /// # Errors
    /// There is no such organization; the caller may not.
    pub async fn allowed_ranges_set(
        &self,
        caller: &Caller,
        organization: Local<OrganizationId>,
        ranges: &AllowedRanges,
    ) -> Result<Revision, UseCaseError> {
        let permit = self.organization_permit(caller, Permission::KeyWrite, organization).await?;
        let chain = Chain::Organization(organization);
        let keys = self.keys(chain).await?;
        let mut transaction = self.store().begin().await?;
        transaction.organization_set_allowed_ranges(organization, ranges).await.map_err(missing)?;
        let mutation = Mutation {
            chain,
            action: "organization.allowed_ranges",
            subject: format!("{organization} {}", told(ranges)),
            changes: &[ChangedResource::Organization(organization)],
        };
        Ok(self.commit(&permit, &keys, transaction, mutation).await?)
    }

    /// Changes from where a key's calls are taken. A revoked or expired key can be changed; nobody is served by it.
    ///
    /// # Errors
    /// There is no such key; the caller may not.
    pub async fn key_set_allowed_ranges(
        &self,
        caller: &Caller,
        id: Local<KeyId>,
        ranges: &AllowedRanges,
    ) -> Result<(Key, Revision), UseCaseError> {
        let (permit, row) = self.key_row(&caller.asks(Permission::KeyWrite)?, id).await?;
        let chain = Chain::Organization(row.organization);
        let keys = self.keys(chain).await?;
        let mut transaction = self.store().begin().await?;
        transaction.key_set_allowed_ranges(id, ranges).await?;
        let mutation = Mutation {
            chain,
            action: "key.allowed_ranges",
            subject: format!("{id} {}", told(ranges)),
            changes: &[ChangedResource::ApiKey(id)],
        };
        let revision = self.commit(&permit, &keys, transaction, mutation).await?;
        Ok((self.key_opened(&permit, id).await?, revision))
    }
}

/// How many, for the record: a range may be one person's address, and a subject stands there unsealed, for good.
fn told(ranges: &AllowedRanges) -> String {
    match ranges.iter().count() {
        0 => "anywhere".to_owned(),
        1 => "1 range".to_owned(),
        count => format!("{count} ranges"),
    }
}
