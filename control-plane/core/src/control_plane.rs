//! The use cases of one region, and what they share. They are spread over the modules of this crate, one for each aggregate.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use bailiwick_domain::{
    egress::EgressPolicy,
    guard::Guard,
    jurisdiction::{ForeignRegion, Jurisdiction},
    key::Pepper,
    price::Price,
    provider::Provider,
    region::{RegionName, Regions},
    spiffe::TrustDomain,
    time::{Clock, Timestamp},
};

use crate::{
    caller::Permit,
    error::UseCaseError,
    fleet::Fleet,
    ports::{
        coordination::Coordination,
        quota::LimitUse,
        store::{Store, StoreError, Transaction},
        token::TokenSigner,
        vault::{CertificateAuthority, Vault},
    },
    records::{Chain, ChangedResource, Revision},
    sealing::{Keys, scope_of},
    token::TokenCalls,
    trust::Trust,
};

const MINUTE: Duration = Duration::from_secs(60);
/// Records of refusals within a minute, and their length.
const REFUSALS_PER_MINUTE: u32 = 60;
const MAX_REFUSED_SUBJECT: usize = 80;

/// The control plane of one region.
pub struct ControlPlane {
    /// What it was made of.
    pub parts: Parts,
    signups: PerMinute,
    refusals: PerMinute,
    token_calls: TokenCalls,
    limit_use: OnceLock<Arc<dyn LimitUse>>,
}

/// What a control plane is made of.
pub struct Parts {
    /// Rows.
    pub store: Arc<dyn Store>,
    /// Data keys.
    pub vault: Arc<dyn Vault>,
    /// Revisions.
    pub coordination: Arc<dyn Coordination>,
    /// Certificates.
    pub authority: Arc<dyn CertificateAuthority>,
    /// Bearer tokens.
    pub tokens: Arc<dyn TokenSigner>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Workers that are connected.
    pub fleet: Arc<Fleet>,
    /// Whom the region's processes trust.
    pub trust: Arc<Trust>,
    /// This region.
    pub jurisdiction: Jurisdiction,
    /// All regions, to say which is right.
    pub regions: Regions,
    /// This region's trust domain.
    pub trust_domain: TrustDomain,
    /// Under which keys are stored.
    pub pepper: Pepper,
    /// What the operator chose.
    pub settings: Settings,
}

/// What the operator chose.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Which provider endpoints deployments may have.
    pub egress: EgressPolicy,
    /// Prices that go before the catalogue's, by provider and the provider's name of the model.
    pub prices: HashMap<(Provider, String), Price>,
    /// Organizations that may sign up by themselves within a minute; 0: signing up is closed.
    pub signups_per_minute: u32,
    /// Build of this process.
    pub build: String,
}

/// What a mutation is, for the record and for workers.
pub(crate) struct Mutation<'a> {
    pub(crate) chain: Chain,
    pub(crate) action: &'static str,
    pub(crate) subject: String,
    pub(crate) changes: &'a [ChangedResource],
}

impl ControlPlane {
    /// A control plane of these parts.
    pub fn new(parts: Parts) -> Self {
        let signups = PerMinute::new(parts.settings.signups_per_minute);
        let refusals = PerMinute::new(REFUSALS_PER_MINUTE);
        let (token_calls, limit_use) = (TokenCalls::default(), OnceLock::new());
        Self { parts, signups, refusals, token_calls, limit_use }
    }

    /// Who lends limits here tells how they stand. Without it nobody knows.
    pub fn show_limit_use(&self, limit_use: Arc<dyn LimitUse>) {
        // Who came first stays: there is one in a process.
        let _ = self.limit_use.set(limit_use);
    }

    pub(crate) fn limit_use(&self) -> Option<&dyn LimitUse> {
        self.limit_use.get().map(Arc::as_ref)
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.parts.store.as_ref()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    pub(crate) async fn keys(&self, chain: Chain) -> Result<Keys, UseCaseError> {
        Keys::of(self.store(), self.parts.vault.as_ref(), scope_of(chain)).await
    }

    /// Ends a mutation: its record and its changes are committed together, then the new revision is told. The permit says who did it.
    pub(crate) async fn commit(
        &self,
        permit: &Permit,
        keys: &Keys,
        transaction: Box<dyn Transaction>,
        mutation: Mutation<'_>,
    ) -> Result<Revision, StoreOrUseCase> {
        let Mutation { chain, action, subject, changes } = mutation;
        if !permit.covers(chain) {
            return Err(
                UseCaseError::Internal("a permit of one organization was used in another".into()).into()
            );
        }
        let audit = keys.audit(chain, self.now(), &permit.actor().to_string(), action, subject)?;
        let revision = transaction.commit(audit, changes).await.map_err(|error| match error {
            // It was deleted while this was under way.
            StoreError::NotFound => UseCaseError::NotFound { what: "the organization" }.into(),
            other => StoreOrUseCase::Store(other),
        })?;
        if !changes.is_empty() {
            self.parts.coordination.publish(revision);
        }
        Ok(revision)
    }

    /// Checks that a caller who names a region means this one. Who means another is recorded.
    pub(crate) async fn check_region(&self, permit: &Permit, name: &RegionName) -> Result<(), UseCaseError> {
        let region = self.parts.regions.by_name(name);
        let region =
            region.ok_or_else(|| UseCaseError::invalid("region", "is not a region of this installation"))?;
        if region.code == self.parts.jurisdiction.code() || !Guard::ControlPlaneRegion.stands() {
            return Ok(());
        }
        self.note_foreign(&permit.actor().to_string(), name.as_str()).await;
        Err(ForeignRegion { found: region.code, expected: self.parts.jurisdiction.code() }.into())
    }

    pub(crate) fn count_token_call(&self, from: IpAddr) -> Result<(), UseCaseError> {
        self.token_calls
            .take(from, self.now())
            .map_err(|retry_after| UseCaseError::Exhausted { reason: "token_limit", retry_after })
    }

    pub(crate) fn count_signup(&self) -> Result<(), UseCaseError> {
        if self.parts.settings.signups_per_minute == 0 {
            return Err(UseCaseError::SignupClosed);
        }
        self.signups
            .take(self.now())
            .map_err(|retry_after| UseCaseError::Exhausted { reason: "signup_limit", retry_after })
    }

    /// Records on the region's chain that something of another region was refused. At most 60 records a minute are made: they shall be
    /// no lever to fill the disk. Failing to record does not change the refusal.
    pub async fn note_foreign(&self, actor: &str, subject: &str) {
        if self.refusals.take(self.now()).is_err() {
            return;
        }
        let subject = subject.chars().filter(|c| c.is_ascii_graphic()).take(MAX_REFUSED_SUBJECT).collect();
        if let Err(error) = self.record_on_region_chain(actor, "foreign.refuse", subject).await {
            tracing::warn!(%error, "a refusal could not be recorded");
        }
    }

    async fn record_on_region_chain(
        &self,
        actor: &str,
        action: &'static str,
        subject: String,
    ) -> Result<(), UseCaseError> {
        let audit =
            self.keys(Chain::Region).await?.audit(Chain::Region, self.now(), actor, action, subject)?;
        let transaction = self.store().begin().await?;
        transaction.commit(audit, &[]).await?;
        Ok(())
    }
}

/// A mutation that ends in a conflict may have a better answer than the conflict.
#[derive(Debug)]
pub(crate) enum StoreOrUseCase {
    Store(StoreError),
    UseCase(UseCaseError),
}

impl From<StoreError> for StoreOrUseCase {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<UseCaseError> for StoreOrUseCase {
    fn from(error: UseCaseError) -> Self {
        Self::UseCase(error)
    }
}

impl From<StoreOrUseCase> for UseCaseError {
    fn from(error: StoreOrUseCase) -> Self {
        match error {
            StoreOrUseCase::Store(error) => error.into(),
            StoreOrUseCase::UseCase(error) => error,
        }
    }
}

/// A bound on how often within a minute of the clock.
#[derive(Debug)]
pub(crate) struct PerMinute {
    limit: u32,
    taken: Mutex<(i64, u32)>,
}

impl PerMinute {
    pub(crate) fn new(limit: u32) -> Self {
        Self { limit, taken: Mutex::default() }
    }

    /// Errors: the limit is reached; how long until the next minute.
    pub(crate) fn take(&self, now: Timestamp) -> Result<(), Duration> {
        let micros = i64::try_from(MINUTE.as_micros()).unwrap_or(i64::MAX);
        let minute = now.as_micros().div_euclid(micros);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.0 != minute {
            *taken = (minute, 0);
        }
        if taken.1 >= self.limit {
            let next = Timestamp::from_micros((minute + 1).saturating_mul(micros));
            return Err(next.saturating_since(now));
        }
        taken.1 += 1;
        Ok(())
    }
}
