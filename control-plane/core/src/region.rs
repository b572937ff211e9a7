//! The region itself: what it is, who works in it, and join tokens.

use std::time::Duration;

use bailiwick_domain::{
    jurisdiction::Local,
    key::{CaFingerprint, JoinToken, JoinTokenId},
    permission::Permission,
    spiffe::{ProcessRole, SpiffeId},
    time::Timestamp,
};

use crate::{
    caller::Caller,
    control_plane::{ControlPlane, Mutation},
    error::{UseCaseError, Violation},
    fleet::Live,
    idempotency::{Claimed, IdempotencyKey},
    records::{Chain, ClusterIdentity, JoinTokenRecord, Page, PageOf, Revision, WorkerRecord},
};

const CREATE_TOKEN: &str = "join_token.create";
const MAX_TOKEN_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// What the region is.
#[derive(Clone, Debug)]
pub struct RegionInfo {
    /// Whose store it is.
    pub identity: ClusterIdentity,
    /// Revision of the configuration.
    pub revision: Revision,
    /// The root's fingerprint.
    pub ca_fingerprint: CaFingerprint,
    /// End of the root's validity.
    pub ca_expires_at: Timestamp,
    /// Backend of the store.
    pub store: &'static str,
    /// Kind of coordination.
    pub coordination: &'static str,
    /// Organizations that are not deleted.
    pub organizations: u64,
    /// The control plane's clock.
    pub now: Timestamp,
}

/// A worker or router: what is stored of it, and what is known when it is connected.
#[derive(Clone, Debug)]
pub struct WorkerStatus {
    /// Row.
    pub row: WorkerRecord,
    /// `None`: absent.
    pub live: Option<Live>,
    /// Until when it may serve by what it was told, see [`crate::fleet::Fleet::lease_end`].
    pub lease_expires_at: Option<Timestamp>,
}

impl ControlPlane {
    /// What the region is.
    ///
    /// # Errors
    /// The caller may not.
    pub async fn region_info(&self, caller: &Caller) -> Result<RegionInfo, UseCaseError> {
        caller.permit_region(Permission::RegionRead)?;
        Ok(RegionInfo {
            identity: self.store().cluster_identity().await?,
            revision: self.store().revision().await?,
            ca_fingerprint: self.parts.authority.fingerprint(),
            ca_expires_at: self.parts.authority.expires_at(),
            store: self.store().backend(),
            coordination: self.parts.coordination.kind(),
            organizations: self.store().organization_count().await?,
            now: self.now(),
        })
    }

    /// A page of workers and routers, absent ones too, and the region's revision to compare them with.
    ///
    /// # Errors
    /// The caller may not.
    pub async fn worker_list(
        &self,
        caller: &Caller,
        page: &Page,
    ) -> Result<(PageOf<WorkerStatus>, Revision), UseCaseError> {
        caller.permit_region(Permission::RegionRead)?;
        let found = self.store().worker_list(page).await?;
        let fleet = &self.parts.fleet;
        let with_live = |row: WorkerRecord| WorkerStatus {
            live: fleet.live(row.id),
            // Routers are lent nothing.
            lease_expires_at: fleet.lease_end(row.id).filter(|_| row.role == ProcessRole::Worker),
            row,
        };
        let rows = found.rows.into_iter().map(with_live).collect();
        Ok((PageOf { rows, next: found.next }, self.store().revision().await?))
    }

    /// A token with which one process enrolls, once. `None` when an earlier call with the same idempotency key made it.
    ///
    /// # Errors
    /// The role cannot enroll; the name or the lifetime is out of bounds; the caller may not.
    pub async fn join_token_create(
        &self,
        caller: &Caller,
        idempotency_key: IdempotencyKey,
        role: ProcessRole,
        name: &str,
        lifetime: Duration,
    ) -> Result<(Option<JoinToken>, Timestamp), UseCaseError> {
        let permit = caller.permit_region(Permission::RegionWrite)?;
        let violations = self.join_token_violations(role, name, lifetime);
        if !violations.is_empty() {
            return Err(UseCaseError::Invalid(violations));
        }
        let claim = self.claim(CREATE_TOKEN, permit.actor(), &idempotency_key);
        if let Some(id) = self.claimed_before(&claim).await? {
            return self.join_token_made_before(id).await;
        }
        let now = self.now();
        let token = JoinToken::generate(self.parts.jurisdiction.code(), self.parts.authority.fingerprint());
        let id = self.parts.jurisdiction.admit(token.id())?;
        let row = JoinTokenRecord {
            id: *id,
            digest: token.digest(&self.parts.pepper),
            role,
            name: name.to_owned(),
            expires_at: now.saturating_add(lifetime),
            used_at: None,
        };
        let keys = self.keys(Chain::Region).await?;
        let mut transaction = match self.begin_claimed(&claim, &id, now).await? {
            Claimed::First(transaction) => transaction,
            Claimed::Before(id) => return self.join_token_made_before(id).await,
        };
        transaction.join_token_insert(&row).await?;
        let mutation = Mutation {
            chain: Chain::Region,
            action: CREATE_TOKEN,
            subject: row.id.to_string(),
            changes: &[],
        };
        self.commit(&permit, &keys, transaction, mutation).await?;
        Ok((Some(token), row.expires_at))
    }

    /// Every rule that a token of this role, name and lifetime would break.
    pub fn join_token_violations(&self, role: ProcessRole, name: &str, lifetime: Duration) -> Vec<Violation> {
        let violation = |field: &str, description: String| Violation { field: field.to_owned(), description };
        let enrolls = matches!(role, ProcessRole::Worker | ProcessRole::Router);
        let named = SpiffeId::new(self.parts.trust_domain.clone(), role, name);
        let broken = [
            (!enrolls).then(|| violation("role", "is one of worker, router".to_owned())),
            named.err().map(|error| violation("name", error.to_string())),
            (lifetime > MAX_TOKEN_LIFETIME)
                .then(|| violation("lifetime_seconds", "is over 604800 (7 days)".to_owned())),
        ];
        broken.into_iter().flatten().collect()
    }

    async fn join_token_made_before(
        &self,
        id: Local<JoinTokenId>,
    ) -> Result<(Option<JoinToken>, Timestamp), UseCaseError> {
        let row = self.store().join_token_fetch(*id).await?;
        Ok((None, row.ok_or(UseCaseError::NotFound { what: "the join token" })?.expires_at))
    }
}
