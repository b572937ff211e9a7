//! Organizations: create, read, suspend, delete.

use bailiwick_domain::{
    address::AllowedRanges,
    egress::Residency,
    id::OrganizationId,
    jurisdiction::Local,
    key::Purpose,
    names::{DisplayName, EmailAddress},
    organization::{OnStale, OrganizationStatus},
    permission::Permission,
    region::RegionName,
    time::Timestamp,
};

use crate::{
    caller::{Asking, Caller, Permit},
    control_plane::{ControlPlane, Mutation, StoreOrUseCase},
    error::UseCaseError,
    idempotency::{Claim, Claimed, IdempotencyKey},
    ports::{
        store::StoreError,
        vault::{KeyScope, SealContext},
    },
    records::{Chain, ChangedResource, OrganizationRecord, Page, PageOf, Revision},
    sealing::Keys,
};

pub(crate) const CREATE: &str = "organization.create";
const FIRST_VERSION: u32 = 1;
/// What is not found, for people: one that is not there, and one that is none of the caller's business.
const WHAT: &str = "the organization";

/// An organization, its names opened.
#[derive(Clone, Debug)]
pub struct Organization {
    /// Identifier.
    pub id: Local<OrganizationId>,
    /// Display name; empty once its data keys are destroyed.
    pub name: String,
    /// Contact; empty when none was given.
    pub contact_email: String,
    /// Whether it is served.
    pub status: OrganizationStatus,
    /// Whether workers with an expired lease serve it.
    pub on_stale: OnStale,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What an organization begins with.
#[derive(Clone, Debug)]
pub struct NewOrganization {
    /// The caller's.
    pub idempotency_key: IdempotencyKey,
    /// Must be this region.
    pub region: RegionName,
    /// Sealed at rest.
    pub name: DisplayName,
    /// Sealed at rest.
    pub contact_email: Option<EmailAddress>,
    /// Whether workers with an expired lease serve it.
    pub on_stale: OnStale,
}

impl ControlPlane {
    /// Creates an organization with data keys of its own.
    ///
    /// # Errors
    /// Another region was named; the caller may not.
    pub async fn organization_create(
        &self,
        caller: &Caller,
        new: NewOrganization,
    ) -> Result<(Organization, Revision), UseCaseError> {
        let permit = caller.permit_region(Permission::OrganizationWrite)?;
        let claim = self.claim(CREATE, permit.actor(), &new.idempotency_key);
        self.organization_create_permitted(&permit, &claim, new).await
    }

    /// The same for whoever asks on behalf of others: the claim says of whom.
    pub(crate) async fn organization_create_permitted(
        &self,
        permit: &Permit,
        claim: &Claim,
        new: NewOrganization,
    ) -> Result<(Organization, Revision), UseCaseError> {
        self.check_region(permit, &new.region).await?;
        if let Some(id) = self.claimed_before(claim).await? {
            return self.organization_at_revision(id).await;
        }
        let now = self.now();
        let id = self.parts.jurisdiction.mint_random(now);
        let scope = KeyScope::Organization(id);
        let wrapped = self.parts.vault.create_data_key(scope, FIRST_VERSION).await?;
        let keys = Keys::one(self.parts.vault.unlock(&wrapped).await?);
        let row = self.organization_row(id, &new, &keys, now)?;
        let mut transaction = match self.begin_claimed(claim, &id, now).await? {
            Claimed::First(transaction) => transaction,
            Claimed::Before(id) => return self.organization_at_revision(id).await,
        };
        transaction.data_key_insert(&wrapped).await?;
        transaction.organization_insert(&row).await?;
        let mutation = Mutation {
            chain: Chain::Organization(id),
            action: CREATE,
            subject: id.to_string(),
            changes: &[ChangedResource::Organization(id)],
        };
        let revision = self.commit(permit, &keys, transaction, mutation).await?;
        Ok((opened(&row, &keys), revision))
    }

    fn organization_row(
        &self,
        id: Local<OrganizationId>,
        new: &NewOrganization,
        keys: &Keys,
        now: Timestamp,
    ) -> Result<OrganizationRecord, UseCaseError> {
        let row = id.to_string();
        let email = new.contact_email.as_ref().map(EmailAddress::as_str);
        Ok(OrganizationRecord {
            id,
            name: keys.seal(place("name", &row), new.name.as_str().as_bytes())?,
            contact_email: email
                .map(|email| keys.seal(place("contact_email", &row), email.as_bytes()))
                .transpose()?,
            contact_email_hash: email
                .map(|email| self.parts.pepper.digest_for(Purpose::EmailAddress, email.as_bytes()).0),
            status: OrganizationStatus::Active,
            on_stale: new.on_stale,
            residency: Residency::default(),
            allowed_ranges: AllowedRanges::default(),
            created_at: now,
        })
    }

    /// One organization, deleted ones too.
    ///
    /// # Errors
    /// There is none; the caller may not.
    pub async fn organization_fetch(
        &self,
        caller: &Caller,
        id: Local<OrganizationId>,
    ) -> Result<Organization, UseCaseError> {
        caller.asks(Permission::OrganizationRead)?.within(id, WHAT)?;
        Ok(self.organization_at_revision(id).await?.0)
    }

    /// A page of organizations.
    ///
    /// # Errors
    /// The caller may not; the page token is not ours.
    pub async fn organization_list(
        &self,
        caller: &Caller,
        page: &Page,
    ) -> Result<PageOf<Organization>, UseCaseError> {
        caller.permit_region(Permission::OrganizationList)?;
        let found = self.store().organization_list(page).await?;
        let mut rows = Vec::with_capacity(found.rows.len());
        for row in &found.rows {
            rows.push(opened(row, &self.keys(Chain::Organization(row.id)).await?));
        }
        Ok(PageOf { rows, next: found.next })
    }

    /// Suspends, or lifts a suspension.
    ///
    /// # Errors
    /// There is none, or it is deleted; the caller may not.
    pub async fn organization_suspend(
        &self,
        caller: &Caller,
        id: Local<OrganizationId>,
        suspended: bool,
    ) -> Result<(Organization, Revision), UseCaseError> {
        let permit = caller.permit_region(Permission::OrganizationWrite)?;
        self.organization_active(id).await?;
        let (status, action) = match suspended {
            true => (OrganizationStatus::Suspended, "organization.suspend"),
            false => (OrganizationStatus::Active, "organization.resume"),
        };
        let keys = self.keys(Chain::Organization(id)).await?;
        let mut transaction = self.store().begin().await?;
        transaction.organization_set_status(id, status).await.map_err(missing)?;
        let changes = [ChangedResource::Organization(id)];
        let mutation =
            Mutation { chain: Chain::Organization(id), action, subject: id.to_string(), changes: &changes };
        let revision = self.commit(&permit, &keys, transaction, mutation).await?;
        Ok((self.organization_at_revision(id).await?.0, revision))
    }

    /// Destroys the organization's data keys, and takes everything of it from the workers; [`crate::destruction`] destroys its rows. The record stands on the region's chain: the
    /// organization's own could not be read any more.
    ///
    /// # Errors
    /// There is none, or it is deleted already; the caller may not.
    pub async fn organization_delete(
        &self,
        caller: &Caller,
        id: Local<OrganizationId>,
    ) -> Result<Revision, UseCaseError> {
        let permit = caller.permit_region(Permission::OrganizationWrite)?;
        self.organization_active(id).await?;
        let keys = self.keys(Chain::Region).await?;
        let mut transaction = self.store().begin().await?;
        transaction.organization_destroy(id, self.now()).await.map_err(missing)?;
        let changes = [ChangedResource::Organization(id)];
        let action = "organization.delete";
        let mutation = Mutation { chain: Chain::Region, action, subject: id.to_string(), changes: &changes };
        let revision = self.commit(&permit, &keys, transaction, mutation).await?;
        self.parts.vault.forget(KeyScope::Organization(id));
        Ok(revision)
    }

    /// The organization, if it is there and not deleted: nothing can be made in another. This look is for a quick and clear answer; what holds is
    /// that no record goes to a deleted organization's chain, see [`crate::ports::store::Transaction::commit`].
    pub(crate) async fn organization_active(
        &self,
        id: Local<OrganizationId>,
    ) -> Result<OrganizationRecord, UseCaseError> {
        let row = self.store().organization_fetch(id).await?;
        let alive = row.filter(|row| row.status != OrganizationStatus::Deleted);
        alive.ok_or(UseCaseError::NotFound { what: WHAT })
    }

    /// The same, for a caller who asks for something that belongs to it.
    pub(crate) async fn organization_permit(
        &self,
        caller: &Caller,
        permission: Permission,
        id: Local<OrganizationId>,
    ) -> Result<Permit, UseCaseError> {
        let permit = caller.asks(permission)?.within(id, WHAT)?;
        self.organization_active(id).await?;
        Ok(permit)
    }

    /// What is found by an identifier of its own belongs to an organization: a permit within that. What belongs to a deleted organization, or to
    /// another than the caller's, is not found, as if it were not there.
    pub(crate) async fn owned(
        &self,
        asking: &Asking,
        by: Local<OrganizationId>,
        what: &'static str,
    ) -> Result<Permit, UseCaseError> {
        let permit = asking.within(by, what)?;
        match self.organization_active(by).await {
            Ok(_) => Ok(permit),
            Err(UseCaseError::NotFound { .. }) => Err(UseCaseError::NotFound { what }),
            Err(error) => Err(error),
        }
    }

    async fn organization_at_revision(
        &self,
        id: Local<OrganizationId>,
    ) -> Result<(Organization, Revision), UseCaseError> {
        let row = self.store().organization_fetch(id).await?;
        let row = row.ok_or(UseCaseError::NotFound { what: WHAT })?;
        let keys = self.keys(Chain::Organization(id)).await?;
        Ok((opened(&row, &keys), self.store().revision().await?))
    }
}

fn place<'a>(column: &'static str, row: &'a str) -> SealContext<'a> {
    SealContext { table: "organizations", column, row }
}

fn opened(row: &OrganizationRecord, keys: &Keys) -> Organization {
    let id = row.id.to_string();
    let email =
        row.contact_email.as_ref().and_then(|sealed| keys.open_text(place("contact_email", &id), sealed));
    Organization {
        id: row.id,
        name: keys.open_text(place("name", &id), &row.name).unwrap_or_default(),
        contact_email: email.unwrap_or_default(),
        status: row.status,
        on_stale: row.on_stale,
        created_at: row.created_at,
    }
}

pub(crate) fn missing(error: StoreError) -> UseCaseError {
    match error {
        StoreError::NotFound => UseCaseError::NotFound { what: WHAT },
        other => StoreOrUseCase::Store(other).into(),
    }
}
