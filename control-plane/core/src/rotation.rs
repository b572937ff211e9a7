//! Rotation of keys, online and resumable.
//!
//! - **The master key**: an operator makes a new one current and lists the old one as previous. Every data key that another master key wraps is
//!   wrapped anew; what data keys sealed stays as it is. How far it is stands in the rows themselves, so a crash in the middle costs nothing.
//! - **A scope's data keys**: a new version is made, which seals from then on, and what older versions sealed is sealed anew. Older versions stay for
//!   what is final: audit chains are hashed over sealed bytes. They seal nothing any more.
//!
//! A caller asks here; [`Rotations`] does the work, in batches, each of which is a transaction with its record.

mod work;

use bailiwick_domain::{
    id::{OrganizationId, RotationId},
    jurisdiction::Local,
    permission::Permission,
    time::Timestamp,
};

use crate::{
    caller::{Caller, Permit},
    control_plane::{ControlPlane, Mutation},
    error::UseCaseError,
    idempotency::{Claim, Claimed, IdempotencyKey},
    ports::vault::{KeyScope, WrappedDataKey},
    records::{Chain, Page, PageOf, RotationRecord, RotationSubject},
};

pub use work::{Pace, RotationError, Rotations};

const ROTATE_MASTER_KEY: &str = "master_key.rotate";
const ROTATE_DATA_KEYS: &str = "data_keys.rotate";

/// What wraps this region's data keys.
#[derive(Clone, Debug)]
pub struct KeyMaterial {
    /// Name of the master key that wraps now.
    pub master_key: String,
    /// How many data keys each master key wraps, and whether it was given to this process.
    pub census: Vec<(String, u64, bool)>,
}

impl ControlPlane {
    /// What wraps the data keys. A master key that wraps none can be taken away.
    ///
    /// # Errors
    /// The caller may not.
    pub async fn key_material(&self, caller: &Caller) -> Result<KeyMaterial, UseCaseError> {
        caller.permit_region(Permission::RegionRead)?;
        let census = self.store().data_key_census().await?;
        let vault = self.parts.vault.as_ref();
        let known = |(name, count): (String, u64)| {
            let is_known = vault.knows_master_key(&name);
            (name, count, is_known)
        };
        Ok(KeyMaterial {
            master_key: vault.master_key().to_owned(),
            census: census.into_iter().map(known).collect(),
        })
    }

    /// Begins to wrap all data keys under the present master key. One that is under way to the same key is given instead of a second one.
    ///
    /// # Errors
    /// The caller may not.
    pub async fn master_key_rotate(
        &self,
        caller: &Caller,
        idempotency_key: &IdempotencyKey,
    ) -> Result<RotationRecord, UseCaseError> {
        let permit = caller.permit_region(Permission::RegionWrite)?;
        let target = self.parts.vault.master_key().to_owned();
        if let Some(open) = self.rotation_open(RotationSubject::MasterKey).await?
            && open.target == target
        {
            return Ok(open);
        }
        let census = self.store().data_key_census().await?;
        let total = census.iter().filter(|(name, _)| *name != target).map(|(_, count)| count).sum();
        let claim = self.claim(ROTATE_MASTER_KEY, permit.actor(), idempotency_key);
        let new = NewRotation { subject: RotationSubject::MasterKey, target, total, data_key: None };
        self.rotation_begin(&permit, &claim, new).await
    }

    /// Makes a new version of an organization's data keys, or of the region's own, and begins to seal anew what older ones sealed.
    ///
    /// # Errors
    /// There is no such organization, or it is deleted; the caller may not; the key management service is away.
    pub async fn data_keys_rotate(
        &self,
        caller: &Caller,
        idempotency_key: &IdempotencyKey,
        organization: Option<Local<OrganizationId>>,
    ) -> Result<RotationRecord, UseCaseError> {
        // Keys are the region's affair: whoever administers an organization never handles them.
        let permit = caller.permit_region(Permission::RegionWrite)?;
        let scope = match organization {
            None => KeyScope::Region,
            Some(id) => {
                self.organization_active(id).await?;
                KeyScope::Organization(id)
            }
        };
        let subject = RotationSubject::DataKeys(scope);
        let claim = self.claim(ROTATE_DATA_KEYS, permit.actor(), idempotency_key);
        if let Some(id) = self.claimed_before(&claim).await? {
            return self.rotation_found(id).await;
        }
        // Two at once would only do the same work twice.
        if let Some(open) = self.rotation_open(subject).await? {
            return Ok(open);
        }
        let newest = self.store().data_keys_fetch(scope).await?.last().map_or(0, |key| key.version);
        let version = newest.saturating_add(1);
        let data_key = self.parts.vault.create_data_key(scope, version).await?;
        let total = self.sealed_count(scope).await?;
        let new = NewRotation { subject, target: version.to_string(), total, data_key: Some(data_key) };
        self.rotation_begin(&permit, &claim, new).await
    }

    /// One rotation.
    ///
    /// # Errors
    /// There is none; the caller may not.
    pub async fn rotation_get(
        &self,
        caller: &Caller,
        id: Local<RotationId>,
    ) -> Result<RotationRecord, UseCaseError> {
        caller.permit_region(Permission::RegionRead)?;
        self.rotation_found(id).await
    }

    /// Rotations, oldest first.
    ///
    /// # Errors
    /// The caller may not.
    pub async fn rotation_list(
        &self,
        caller: &Caller,
        page: &Page,
    ) -> Result<PageOf<RotationRecord>, UseCaseError> {
        caller.permit_region(Permission::RegionRead)?;
        Ok(self.store().rotation_list(page).await?)
    }

    async fn rotation_begin(
        &self,
        permit: &Permit,
        claim: &Claim,
        new: NewRotation,
    ) -> Result<RotationRecord, UseCaseError> {
        if let Some(id) = self.claimed_before(claim).await? {
            return self.rotation_found(id).await;
        }
        let now = self.now();
        let row = new.record(self.parts.jurisdiction.mint_random(now), now);
        let chain = chain_of(row.subject);
        let keys = self.keys(chain).await?;
        let mut transaction = match self.begin_claimed(claim, &row.id, now).await? {
            Claimed::First(transaction) => transaction,
            Claimed::Before(id) => return self.rotation_found(id).await,
        };
        if let Some(data_key) = &new.data_key {
            transaction.data_key_insert(data_key).await?;
        }
        transaction.rotation_insert(&row).await?;
        let subject = format!("{} to {}", row.id, row.target);
        let mutation = Mutation { chain, action: claim.method(), subject, changes: &[] };
        self.commit(permit, &keys, transaction, mutation).await?;
        Ok(row)
    }

    async fn rotation_open(&self, subject: RotationSubject) -> Result<Option<RotationRecord>, UseCaseError> {
        let open = self.store().rotation_open_list().await?;
        Ok(open.into_iter().find(|rotation| rotation.subject == subject))
    }

    async fn rotation_found(&self, id: Local<RotationId>) -> Result<RotationRecord, UseCaseError> {
        let found = self.store().rotation_fetch(id).await?;
        found.ok_or(UseCaseError::NotFound { what: "the rotation" })
    }

    async fn sealed_count(&self, scope: KeyScope) -> Result<u64, UseCaseError> {
        let mut count = 0;
        for column in work::columns_of(scope) {
            let mut after = String::new();
            loop {
                let page = self.store().sealed_page(column, scope, &after, work::PAGE).await?;
                count += work::length(&page);
                match page.into_iter().next_back() {
                    Some((last, _)) => after = last,
                    None => break,
                }
            }
        }
        Ok(count)
    }
}

/// What a rotation begins with.
struct NewRotation {
    subject: RotationSubject,
    target: String,
    total: u64,
    data_key: Option<WrappedDataKey>,
}

impl NewRotation {
    fn record(&self, id: Local<RotationId>, now: Timestamp) -> RotationRecord {
        RotationRecord {
            id,
            subject: self.subject,
            target: self.target.clone(),
            total: self.total,
            done: 0,
            started_at: now,
            finished_at: None,
        }
    }
}

/// Where its records stand.
fn chain_of(subject: RotationSubject) -> Chain {
    match subject {
        RotationSubject::DataKeys(KeyScope::Organization(id)) => Chain::Organization(id),
        _ => Chain::Region,
    }
}
