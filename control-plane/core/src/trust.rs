//! Whom the region's processes trust, and who is shut out.
//!
//! What is stored is the truth; [`Trust`] is this control plane's copy of it, which its listeners act on and which processes follow. What a process holds of it is known
//! from its stream, and gone with it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bailiwick_domain::{
    id::WorkerId,
    jurisdiction::Local,
    key::CaFingerprint,
    permission::Permission,
    spiffe::{ProcessRole, SpiffeId},
    time::Timestamp,
};
use tokio::sync::{Notify, watch};

use crate::{
    caller::Caller,
    control_plane::{ControlPlane, Mutation},
    enrollment::longest_lifetime,
    error::UseCaseError,
    ports::store::{StoreError, Transaction},
    records::{Chain, RevokedCertificate, TrustVersion},
};

/// Everything at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustState {
    /// The configuration's epoch: versions are counted within it.
    pub epoch: String,
    /// Of all of it.
    pub version: TrustVersion,
    /// The region's roots, PEM.
    pub roots_pem: String,
    /// The root that certificates are issued under now.
    pub issuing: CaFingerprint,
    /// What is revoked and has not expired.
    pub revoked: Vec<RevokedCertificate>,
}

/// This control plane's copy. `None` until it has been read.
#[derive(Debug)]
pub struct Trust {
    state: watch::Sender<Option<Arc<TrustState>>>,
    /// Somebody has changed the store.
    changed: Notify,
    processes: Mutex<HashMap<Local<WorkerId>, (u64, TrustingProcess)>>,
}

/// What a connected process has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustingProcess {
    /// Its identifier in the store.
    pub id: Local<WorkerId>,
    /// Worker or router.
    pub role: ProcessRole,
    /// Name in its certificate.
    pub name: String,
    /// What it has applied; zero: nothing yet.
    pub version: TrustVersion,
    /// The roots that it trusts.
    pub trusted: Vec<CaFingerprint>,
    /// The root of its own certificate.
    pub certificate_root: Option<CaFingerprint>,
}

impl Default for Trust {
    fn default() -> Self {
        Self { state: watch::Sender::new(None), changed: Notify::new(), processes: Mutex::default() }
    }
}

impl Trust {
    /// Follows the state.
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<TrustState>>> {
        self.state.subscribe()
    }

    /// What was read last.
    pub fn state(&self) -> Option<Arc<TrustState>> {
        self.state.borrow().clone()
    }

    /// What was read from the store now.
    pub fn publish(&self, state: TrustState) {
        self.state.send_replace(Some(Arc::new(state)));
    }

    /// The store was changed by this control plane.
    pub(crate) fn note_change(&self) {
        self.changed.notify_one();
    }

    /// Resolves when the store was changed by this control plane, since this was asked last.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A process follows. It is known until what is returned is dropped; a newer stream of the same process takes its place.
    pub fn attend(self: &Arc<Self>, id: Local<WorkerId>, role: ProcessRole, name: String) -> Following {
        let stream = rand::random();
        let version = TrustVersion::default();
        let process =
            TrustingProcess { id, role, name, version, trusted: Vec::new(), certificate_root: None };
        self.lock().insert(id, (stream, process));
        Following { trust: Arc::clone(self), id, stream }
    }

    /// Who is connected, by name.
    pub fn processes(&self) -> Vec<TrustingProcess> {
        let mut all: Vec<_> = self.lock().values().map(|(_, process)| process.clone()).collect();
        all.sort_by(|one, other| (one.role, &one.name).cmp(&(other.role, &other.name)));
        all
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Local<WorkerId>, (u64, TrustingProcess)>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process that follows.
#[derive(Debug)]
pub struct Following {
    trust: Arc<Trust>,
    id: Local<WorkerId>,
    stream: u64,
}

impl Following {
    /// It has applied this version, and holds these roots.
    pub fn applied(
        &self,
        version: TrustVersion,
        trusted: Vec<CaFingerprint>,
        certificate_root: Option<CaFingerprint>,
    ) {
        if let Some((stream, process)) = self.trust.lock().get_mut(&self.id)
            && *stream == self.stream
        {
            (process.version, process.trusted, process.certificate_root) =
                (version, trusted, certificate_root);
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut processes = self.trust.lock();
        if processes.get(&self.id).is_some_and(|(stream, _)| *stream == self.stream) {
            processes.remove(&self.id);
        }
    }
}

/// What an operator sees of it.
#[derive(Clone, Debug)]
pub struct TrustInfo {
    /// Of the store.
    pub version: TrustVersion,
    /// What is revoked and has not expired.
    pub revoked: Vec<RevokedCertificate>,
    /// Who is connected.
    pub processes: Vec<TrustingProcess>,
}

impl ControlPlane {
    /// What is revoked, and who has heard of it.
    ///
    /// # Errors
    /// The caller may not.
    pub async fn trust_info(&self, caller: &Caller) -> Result<TrustInfo, UseCaseError> {
        caller.permit_region(Permission::RegionRead)?;
        let stored = self.store().trust_fetch().await?;
        let now = self.now();
        Ok(TrustInfo {
            version: stored.version,
            revoked: stored.revoked.into_iter().filter(|row| row.expires_at > now).collect(),
            processes: self.parts.trust.processes(),
        })
    }

    /// Shuts a worker or router out: it is no member any more, its certificates are refused, and its streams end.
    ///
    /// # Errors
    /// There is none; too many are revoked already; the caller may not.
    pub async fn worker_revoke(
        &self,
        caller: &Caller,
        id: Local<WorkerId>,
    ) -> Result<TrustVersion, UseCaseError> {
        let permit = caller.permit_region(Permission::RegionWrite)?;
        let keys = self.keys(Chain::Region).await?;
        let mut transaction = self.store().begin().await?;
        let removed = match transaction.worker_remove(id, self.now()).await {
            Err(StoreError::NotFound) => return Err(UseCaseError::NotFound { what: "the worker" }),
            removed => removed?,
        };
        let version = self.revoke(transaction.as_mut(), removed.role, &removed.name).await?;
        let mutation =
            Mutation { chain: Chain::Region, action: "worker.revoke", subject: id.to_string(), changes: &[] };
        self.commit(&permit, &keys, transaction, mutation).await?;
        self.parts.trust.note_change();
        self.parts.fleet.remove(id);
        Ok(version)
    }

    /// Refuses the certificates that an operator or a service of this name was given up to now.
    ///
    /// # Errors
    /// The role is another one, or the name is none; too many are revoked already; the caller may not.
    pub async fn certificate_revoke(
        &self,
        caller: &Caller,
        role: ProcessRole,
        name: &str,
    ) -> Result<TrustVersion, UseCaseError> {
        let permit = caller.permit_region(Permission::RegionWrite)?;
        if !matches!(role, ProcessRole::Operator | ProcessRole::Service) {
            return Err(UseCaseError::invalid("role", "is one of operator, service"));
        }
        let holder = SpiffeId::new(self.parts.trust_domain.clone(), role, name)
            .map_err(|error| UseCaseError::invalid("name", error.to_string()))?;
        let keys = self.keys(Chain::Region).await?;
        let mut transaction = self.store().begin().await?;
        let version = self.revoke(transaction.as_mut(), role, name).await?;
        let subject = holder.to_string();
        let mutation = Mutation { chain: Chain::Region, action: "certificate.revoke", subject, changes: &[] };
        self.commit(&permit, &keys, transaction, mutation).await?;
        self.parts.trust.note_change();
        Ok(version)
    }

    async fn revoke(
        &self,
        transaction: &mut dyn Transaction,
        role: ProcessRole,
        name: &str,
    ) -> Result<TrustVersion, UseCaseError> {
        let now = self.now();
        let row = RevokedCertificate {
            role,
            name: name.to_owned(),
            issued_until: now,
            expires_at: end_of_the_last(role, now),
        };
        match transaction.certificate_revoke(&row, now).await {
            Err(StoreError::Conflict(_)) => Err(UseCaseError::refused(
                "revocation_limit",
                "10,000 names are revoked already: issue every process a certificate of a new root instead",
            )),
            revoked => Ok(revoked?),
        }
    }
}

/// Until when a certificate can be valid whose validity began at `now`.
fn end_of_the_last(role: ProcessRole, now: Timestamp) -> Timestamp {
    // A clock of another replica may have been ahead when it issued.
    const CLOCKS_DIFFER: std::time::Duration = std::time::Duration::from_secs(3600);
    now.saturating_add(longest_lifetime(role)).saturating_add(CLOCKS_DIFFER)
}
