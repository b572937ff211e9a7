//! Service accounts: programs of an organization that administer it. An account has one role, from its birth to its end; its secret leaves this module once, in
//! the answer to the call that made it.

use bailiwick_domain::{
    id::OrganizationId,
    jurisdiction::Local,
    key::{ServiceAccountId, ServiceSecret},
    names::DisplayName,
    organization::OrganizationRole,
    permission::Permission,
};

use crate::{
    caller::{Asking, Caller, Permit},
    control_plane::{ControlPlane, Mutation},
    error::UseCaseError,
    idempotency::{Claimed, IdempotencyKey},
    ports::{store::StoreError, vault::SealContext},
    records::{Chain, Page, PageOf, ServiceAccountRecord},
    sealing::Keys,
};

const CREATE: &str = "service_account.create";
const ROTATE: &str = "service_account.rotate_secret";
const WHAT: &str = "the service account";
const FIRST_VERSION: u32 = 1;

/// A service account, its name opened; without its secret.
#[derive(Clone, Debug)]
pub struct ServiceAccount {
    /// The row.
    pub row: ServiceAccountRecord,
    /// Display name; empty once its organization's data keys are destroyed.
    pub name: String,
}

/// An account with a secret that was just made, or that an earlier call with the same idempotency key made.
#[derive(Debug)]
pub struct WithSecret {
    /// The account.
    pub account: ServiceAccount,
    /// `None` when an earlier call made it.
    pub secret: Option<ServiceSecret>,
}

impl ControlPlane {
    /// Creates an account, in a role that is no stronger than the caller's own.
    ///
    /// # Errors
    /// There is no such organization; the role is stronger than the caller's; the caller may not.
    pub async fn service_account_create(
        &self,
        caller: &Caller,
        idempotency_key: &IdempotencyKey,
        organization: Local<OrganizationId>,
        name: &DisplayName,
        role: OrganizationRole,
    ) -> Result<WithSecret, UseCaseError> {
        let permit = self.organization_permit(caller, Permission::ServiceAccountWrite, organization).await?;
        permit.covers_role(role)?;
        let claim = self.claim(CREATE, organization, idempotency_key);
        if let Some(id) = self.claimed_before(&claim).await? {
            return self.service_account_made_before(&permit, id).await;
        }
        let (now, chain) = (self.now(), Chain::Organization(organization));
        let keys = self.keys(chain).await?;
        let secret = ServiceSecret::generate(self.parts.jurisdiction.code());
        let id = self.parts.jurisdiction.admit(secret.account())?;
        let text = id.to_string();
        let row = ServiceAccountRecord {
            id,
            organization,
            name: keys.seal(place(&text), name.as_str().as_bytes())?,
            role,
            digest: secret.digest(&self.parts.pepper),
            version: FIRST_VERSION,
            created_at: now,
            rotated_at: None,
            revoked_at: None,
        };
        let mut transaction = match self.begin_claimed(&claim, &id, now).await? {
            Claimed::First(transaction) => transaction,
            Claimed::Before(id) => return self.service_account_made_before(&permit, id).await,
        };
        transaction.service_account_insert(&row).await?;
        let mutation = Mutation { chain, action: CREATE, subject: text, changes: &[] };
        self.commit(&permit, &keys, transaction, mutation).await?;
        Ok(WithSecret { account: opened(row, &keys), secret: Some(secret) })
    }

    async fn service_account_made_before(
        &self,
        permit: &Permit,
        id: Local<ServiceAccountId>,
    ) -> Result<WithSecret, UseCaseError> {
        let (_, row) = self.service_account_row(permit.asking(), id).await?;
        let keys = self.keys(Chain::Organization(row.organization)).await?;
        Ok(WithSecret { account: opened(row, &keys), secret: None })
    }

    /// A page of an organization's accounts, revoked ones too.
    ///
    /// # Errors
    /// There is no such organization; the caller may not.
    pub async fn service_account_list(
        &self,
        caller: &Caller,
        organization: Local<OrganizationId>,
        page: &Page,
    ) -> Result<PageOf<ServiceAccount>, UseCaseError> {
        self.organization_permit(caller, Permission::ServiceAccountRead, organization).await?;
        let keys = self.keys(Chain::Organization(organization)).await?;
        let found = self.store().service_account_list(organization, page).await?;
        Ok(PageOf { rows: found.rows.into_iter().map(|row| opened(row, &keys)).collect(), next: found.next })
    }

    /// Gives an account a new secret. The old one ends at once, and the tokens that were obtained with it.
    ///
    /// # Errors
    /// There is no such account, or it is revoked; it is stronger than the caller; the caller may not.
    pub async fn service_account_rotate_secret(
        &self,
        caller: &Caller,
        idempotency_key: &IdempotencyKey,
        id: Local<ServiceAccountId>,
    ) -> Result<WithSecret, UseCaseError> {
        let asking = caller.asks(Permission::ServiceAccountWrite)?;
        let (permit, row) = self.service_account_row(&asking, id).await?;
        // Whoever sets the secret of an account can be that account.
        permit.covers_role(row.role)?;
        let claim = self.claim(ROTATE, id.get(), idempotency_key);
        if let Some(id) = self.claimed_before(&claim).await? {
            return self.service_account_made_before(&permit, id).await;
        }
        if row.revoked_at.is_some() {
            return Err(revoked());
        }
        let (now, chain) = (self.now(), Chain::Organization(row.organization));
        let keys = self.keys(chain).await?;
        let secret = ServiceSecret::another(*id.get());
        let mut transaction = match self.begin_claimed(&claim, &id, now).await? {
            Claimed::First(transaction) => transaction,
            Claimed::Before(id) => return self.service_account_made_before(&permit, id).await,
        };
        let digest = secret.digest(&self.parts.pepper);
        match transaction.service_account_set_secret(id, &digest, now).await {
            // Revoked since it was read.
            Err(StoreError::NotFound) => return Err(revoked()),
            set => set?,
        }
        let mutation = Mutation { chain, action: ROTATE, subject: id.to_string(), changes: &[] };
        self.commit(&permit, &keys, transaction, mutation).await?;
        let (_, row) = self.service_account_row(&asking, id).await?;
        Ok(WithSecret { account: opened(row, &keys), secret: Some(secret) })
    }

    /// Ends an account for good: its secret and its tokens are refused from now on. One that is revoked already stays so.
    ///
    /// # Errors
    /// There is no such account; it is stronger than the caller; the caller may not.
    pub async fn service_account_revoke(
        &self,
        caller: &Caller,
        id: Local<ServiceAccountId>,
    ) -> Result<ServiceAccount, UseCaseError> {
        let asking = caller.asks(Permission::ServiceAccountWrite)?;
        let (permit, row) = self.service_account_row(&asking, id).await?;
        permit.covers_role(row.role)?;
        let chain = Chain::Organization(row.organization);
        let keys = self.keys(chain).await?;
        let mut transaction = self.store().begin().await?;
        transaction.service_account_revoke(id, self.now()).await?;
        let action = "service_account.revoke";
        let mutation = Mutation { chain, action, subject: id.to_string(), changes: &[] };
        self.commit(&permit, &keys, transaction, mutation).await?;
        let (_, row) = self.service_account_row(&asking, id).await?;
        Ok(opened(row, &keys))
    }

    /// The row of an account whose organization is not deleted, and a permit in that.
    async fn service_account_row(
        &self,
        asking: &Asking,
        id: Local<ServiceAccountId>,
    ) -> Result<(Permit, ServiceAccountRecord), UseCaseError> {
        let row = self.store().service_account_fetch(id).await?;
        let row = row.ok_or(UseCaseError::NotFound { what: WHAT })?;
        Ok((self.owned(asking, row.organization, WHAT).await?, row))
    }
}

fn revoked() -> UseCaseError {
    UseCaseError::refused("service_account_revoked", "the service account is revoked: create a new one")
}

fn place(row: &str) -> SealContext<'_> {
    SealContext { table: "service_accounts", column: "name", row }
}

fn opened(row: ServiceAccountRecord, keys: &Keys) -> ServiceAccount {
    let id = row.id.to_string();
    ServiceAccount { name: keys.open_text(place(&id), &row.name).unwrap_or_default(), row }
}
