//! API keys: create, list, rotate, revoke. The key itself leaves this module once, in the answer to the call that made it.

use std::time::Duration;

use bailiwick_domain::{
    address::AllowedRanges,
    id::OrganizationId,
    jurisdiction::Local,
    key::{ApiKey, KeyId},
    names::{DisplayName, ModelName},
    permission::Permission,
    time::Timestamp,
};

use crate::{
    caller::{Asking, Caller, Permit},
    control_plane::{ControlPlane, Mutation},
    error::UseCaseError,
    idempotency::{Claim, Claimed, IdempotencyKey},
    ports::vault::SealContext,
    records::{ApiKeyRecord, Chain, ChangedResource, Page, PageOf, Revision},
    sealing::Keys,
};

const CREATE: &str = "key.create";
const ROTATE: &str = "key.rotate";
/// Names that a key may list.
pub const MAX_ALLOWED_MODELS: usize = 100;
/// How long a rotated key may go on.
pub const MAX_OVERLAP: Duration = Duration::from_secs(30 * 24 * 3600);

/// A key, its name opened; without its secret.
#[derive(Clone, Debug)]
pub struct Key {
    /// The row.
    pub row: ApiKeyRecord,
    /// Display name; empty once its organization's data keys are destroyed.
    pub name: String,
    /// Whether its time has passed.
    pub expired: bool,
}

/// What a key begins with.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The caller's.
    pub idempotency_key: IdempotencyKey,
    /// Whose it will be.
    pub organization: Local<OrganizationId>,
    /// Sealed at rest.
    pub name: DisplayName,
    /// Public model names; empty: all. At most [`MAX_ALLOWED_MODELS`].
    pub allowed_models: Vec<ModelName>,
    /// From where its calls are taken, within what its organization allows.
    pub allowed_ranges: AllowedRanges,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// A key that was just made, or that an earlier call with the same idempotency key made.
#[derive(Debug)]
pub struct Created {
    /// The key.
    pub key: Key,
    /// Its secret; `None` when an earlier call made it.
    pub secret: Option<ApiKey>,
    /// Revision that holds it.
    pub revision: Revision,
}

/// What became of a rotation.
#[derive(Debug)]
pub struct Rotated {
    /// The new key.
    pub created: Created,
    /// The old one, with the end of its overlap.
    pub old: Key,
}

impl ControlPlane {
    /// Creates a key.
    ///
    /// # Errors
    /// There is no such organization; the caller may not.
    pub async fn key_create(&self, caller: &Caller, new: NewKey) -> Result<Created, UseCaseError> {
        let permit = caller.asks(Permission::KeyWrite)?.within(new.organization, "the organization")?;
        self.key_create_permitted(&permit, new).await
    }

    pub(crate) async fn key_create_permitted(
        &self,
        permit: &Permit,
        new: NewKey,
    ) -> Result<Created, UseCaseError> {
        if new.expires_at.is_some_and(|at| at <= self.now()) {
            return Err(UseCaseError::invalid("expires_at_micros", "lies in the past"));
        }
        let claim = self.claim(CREATE, new.organization, &new.idempotency_key);
        self.key_make(permit, claim, new, None).await
    }

    /// Makes a key with the same name, permissions and limits; of its limits nothing is used yet. The old one is revoked when the overlap ends; at once without one.
    ///
    /// # Errors
    /// There is no such key, or it is revoked or expired; the caller may not.
    pub async fn key_rotate(
        &self,
        caller: &Caller,
        id: Local<KeyId>,
        overlap: Duration,
        idempotency_key: IdempotencyKey,
    ) -> Result<Rotated, UseCaseError> {
        let asking = caller.asks(Permission::KeyWrite)?;
        if overlap > MAX_OVERLAP {
            return Err(UseCaseError::invalid("overlap_seconds", "is over 2592000 (30 days)"));
        }
        let (permit, old) = self.key_row(&asking, id).await?;
        let keys = self.keys(Chain::Organization(old.organization)).await?;
        // Of this key: the same idempotency key with another one is another rotation.
        let claim = self.claim(ROTATE, id.get(), &idempotency_key);
        let done = self.claimed_before::<KeyId>(&claim).await?.is_some();
        if !done && (old.revoked_at.is_some() || old.expires_at.is_some_and(|at| at <= self.now())) {
            return Err(UseCaseError::refused(
                "key_not_active",
                "the key is revoked or expired: create a new one",
            ));
        }
        let name = opened(&old, &keys, self.now()).name;
        let new = NewKey {
            idempotency_key,
            organization: old.organization,
            name: name.parse().map_err(|_| UseCaseError::NotFound { what: "the key" })?,
            allowed_models: old.allowed_models.clone(),
            allowed_ranges: old.allowed_ranges.clone(),
            expires_at: old.expires_at,
        };
        let end = self.now().saturating_add(overlap);
        let end = (!overlap.is_zero()).then(|| old.expires_at.map_or(end, |expires_at| expires_at.min(end)));
        let created = self.key_make(&permit, claim, new, Some((id, end))).await?;
        let (_, old) = self.key_row(&asking, id).await?;
        Ok(Rotated { created, old: opened(&old, &keys, self.now()) })
    }

    /// One transaction: the new key, and what becomes of the one that it replaces: it ends at a time, never later than it would have, or now.
    async fn key_make(
        &self,
        permit: &Permit,
        claim: Claim,
        new: NewKey,
        replaces: Option<(Local<KeyId>, Option<Timestamp>)>,
    ) -> Result<Created, UseCaseError> {
        self.organization_active(new.organization).await?;
        if let Some(id) = self.claimed_before(&claim).await? {
            return self.key_made_before(permit, id).await;
        }
        let (now, chain) = (self.now(), Chain::Organization(new.organization));
        let keys = self.keys(chain).await?;
        let secret = ApiKey::generate(self.parts.jurisdiction.code());
        let row = self.key_new_row(&new, &secret, &keys, now)?;
        let mut transaction = match self.begin_claimed(&claim, &row.id, now).await? {
            Claimed::First(transaction) => transaction,
            Claimed::Before(id) => return self.key_made_before(permit, id).await,
        };
        transaction.key_insert(&row).await?;
        let mut changes = vec![ChangedResource::ApiKey(row.id)];
        if let Some((old, end)) = replaces {
            match end {
                Some(end) => transaction.key_set_expiry(old, end).await?,
                None => transaction.key_revoke(old, now).await?,
            }
            changes.push(ChangedResource::ApiKey(old));
            if self.limits_follow(transaction.as_mut(), new.organization, old, row.id).await? {
                changes.push(ChangedResource::Organization(new.organization));
            }
        }
        let mutation =
            Mutation { chain, action: claim.method(), subject: row.id.to_string(), changes: &changes };
        let revision = self.commit(permit, &keys, transaction, mutation).await?;
        Ok(Created { key: opened(&row, &keys, now), secret: Some(secret), revision })
    }

    fn key_new_row(
        &self,
        new: &NewKey,
        secret: &ApiKey,
        keys: &Keys,
        now: Timestamp,
    ) -> Result<ApiKeyRecord, UseCaseError> {
        let id = self.parts.jurisdiction.admit(secret.key_id())?;
        let row = id.to_string();
        Ok(ApiKeyRecord {
            id,
            organization: new.organization,
            name: keys.seal(place(&row), new.name.as_str().as_bytes())?,
            digest: secret.digest(&self.parts.pepper),
            allowed_models: new.allowed_models.clone(),
            allowed_ranges: new.allowed_ranges.clone(),
            created_at: now,
            expires_at: new.expires_at,
            revoked_at: None,
        })
    }

    async fn key_made_before(&self, permit: &Permit, id: Local<KeyId>) -> Result<Created, UseCaseError> {
        let key = self.key_opened(permit, id).await?;
        Ok(Created { key, secret: None, revision: self.store().revision().await? })
    }

    /// A page of an organization's keys.
    ///
    /// # Errors
    /// There is no such organization; the caller may not.
    pub async fn key_list(
        &self,
        caller: &Caller,
        organization: Local<OrganizationId>,
        page: &Page,
    ) -> Result<PageOf<Key>, UseCaseError> {
        self.organization_permit(caller, Permission::KeyRead, organization).await?;
        let keys = self.keys(Chain::Organization(organization)).await?;
        let found = self.store().key_list(organization, page).await?;
        let rows = found.rows.iter().map(|row| opened(row, &keys, self.now())).collect();
        Ok(PageOf { rows, next: found.next })
    }

    /// Takes a key from every worker. A key that is revoked already stays so.
    ///
    /// # Errors
    /// There is no such key; the caller may not.
    pub async fn key_revoke(
        &self,
        caller: &Caller,
        id: Local<KeyId>,
    ) -> Result<(Key, Revision), UseCaseError> {
        let (permit, row) = self.key_row(&caller.asks(Permission::KeyWrite)?, id).await?;
        let chain = Chain::Organization(row.organization);
        let keys = self.keys(chain).await?;
        let mut transaction = self.store().begin().await?;
        transaction.key_revoke(id, self.now()).await?;
        let changes = [ChangedResource::ApiKey(id)];
        let mutation = Mutation { chain, action: "key.revoke", subject: id.to_string(), changes: &changes };
        let revision = self.commit(&permit, &keys, transaction, mutation).await?;
        Ok((self.key_opened(&permit, id).await?, revision))
    }

    /// A key as it is now.
    pub(crate) async fn key_opened(&self, permit: &Permit, id: Local<KeyId>) -> Result<Key, UseCaseError> {
        let (_, row) = self.key_row(permit.asking(), id).await?;
        let keys = self.keys(Chain::Organization(row.organization)).await?;
        Ok(opened(&row, &keys, self.now()))
    }

    /// The row of a key whose organization is not deleted, and a permit in that.
    pub(crate) async fn key_row(
        &self,
        asking: &Asking,
        id: Local<KeyId>,
    ) -> Result<(Permit, ApiKeyRecord), UseCaseError> {
        let what = "the key";
        let row = self.store().key_fetch(id).await?.ok_or(UseCaseError::NotFound { what })?;
        Ok((self.owned(asking, row.organization, what).await?, row))
    }
}

fn place(row: &str) -> SealContext<'_> {
    SealContext { table: "api_keys", column: "name", row }
}

fn opened(row: &ApiKeyRecord, keys: &Keys, now: Timestamp) -> Key {
    let id = row.id.to_string();
    Key {
        name: keys.open_text(place(&id), &row.name).unwrap_or_default(),
        expired: row.expires_at.is_some_and(|at| at <= now),
        row: row.clone(),
    }
}
