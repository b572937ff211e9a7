//! A region as it really is: use cases on a test's own store, a vault, an authority, and tenants whose values are sealed.

use std::sync::Arc;

use bailiwick_coordination::InProcess;
use bailiwick_core::{
    bootstrap,
    caller::Caller,
    control_plane::{ControlPlane, Parts, Settings},
    credential::ProviderSecret,
    fleet::Fleet,
    inspection::{Findings, inspect},
    key::NewKey,
    limit::NewLimit,
    organization::NewOrganization,
    ports::{store::Store, vault::Vault},
};
use bailiwick_domain::{
    address::AllowedRanges,
    id::{CredentialId, OrganizationId},
    jurisdiction::Local,
    key::KeyId,
    organization::OnStale,
    region::Regions,
    spiffe::{ProcessRole, SpiffeId, TrustDomain},
    time::ManualClock,
    usage::RequestId,
};
use bailiwick_quota::limit::{Measure, Over};
use bailiwick_store::SqlStore;
use bailiwick_vault::{EdDsa, KeyHierarchy, MasterKey, MasterKeySource, RegionAuthority};
use secrecy::SecretString;

use crate::fixture::{Fixture, NOW};

/// The region that a fixture's store is of.
pub(crate) struct Inhabited {
    pub(crate) control_plane: ControlPlane,
    pub(crate) vault: Arc<dyn Vault>,
    pub(crate) clock: Arc<ManualClock>,
    caller: Caller,
}

/// A tenant, and what it has.
pub(crate) struct Resident {
    pub(crate) organization: Local<OrganizationId>,
    pub(crate) key: Local<KeyId>,
    pub(crate) credential: Local<CredentialId>,
}

pub(crate) fn vault(master: u8) -> Arc<dyn Vault> {
    let master = SecretString::from(format!("{master:02x}").repeat(32));
    let master = MasterKey::parse(&master).expect("64 digits");
    Arc::new(KeyHierarchy::local("euc1".parse().expect("good"), &master).expect("made"))
}

/// A vault whose master key was changed, and that has the one before.
pub(crate) async fn vault_after(master: u8, previous: u8) -> Arc<dyn Vault> {
    let source = |master: u8| {
        let text = SecretString::from(format!("{master:02x}").repeat(32));
        MasterKeySource::Local(MasterKey::parse(&text).expect("64 digits"))
    };
    let region = "euc1".parse().expect("good");
    let made = KeyHierarchy::new(region, source(master), vec![source(previous)]).await;
    Arc::new(made.expect("made"))
}

impl Inhabited {
    /// Makes the region's secrets in the fixture's store, and its use cases.
    pub(crate) async fn new(fixture: &Fixture) -> Self {
        Self::of(fixture, fixture.store.clone()).await
    }

    /// The same of another store of the region.
    pub(crate) async fn of(fixture: &Fixture, store: SqlStore) -> Self {
        Self::under(fixture, store, vault(0xab)).await
    }

    /// The same under another vault.
    pub(crate) async fn under(fixture: &Fixture, store: SqlStore, vault: Arc<dyn Vault>) -> Self {
        let store: Arc<dyn Store> = Arc::new(store);
        let clock = Arc::new(ManualClock::at(NOW));
        let trust_domain = TrustDomain::new(fixture.home.region().name.clone(), "local").expect("good");
        let make_authority = || RegionAuthority::create(&trust_domain, NOW);
        bootstrap::establish(store.as_ref(), vault.as_ref(), NOW, "test", make_authority, [5; 32].into())
            .await
            .expect("established");
        let secrets = bootstrap::open(store.as_ref(), vault.as_ref()).await.expect("opened");
        let authority = RegionAuthority::open(&trust_domain, &secrets.roots.issuing, None);
        let revision = store.revision().await.expect("read");
        let control_plane = ControlPlane::new(Parts {
            store,
            vault: Arc::clone(&vault),
            coordination: Arc::new(InProcess::new(revision)),
            authority: Arc::new(authority.expect("opened")),
            tokens: Arc::new(EdDsa),
            clock: Arc::<ManualClock>::clone(&clock),
            fleet: Arc::new(Fleet::default()),
            trust: Arc::default(),
            jurisdiction: fixture.home.clone(),
            regions: Regions::builtin(),
            trust_domain: trust_domain.clone(),
            pepper: secrets.pepper(),
            settings: Settings::default(),
        });
        let caller = Caller::new(SpiffeId::new(trust_domain, ProcessRole::Operator, "alice").expect("good"));
        Self { control_plane, vault, clock, caller }
    }

    pub(crate) async fn resident(&self) -> Resident {
        let new = NewOrganization {
            idempotency_key: fresh(),
            region: self.control_plane.parts.jurisdiction.region().name.clone(),
            name: "Example".parse().expect("good"),
            contact_email: Some("someone@example.com".parse().expect("good")),
            on_stale: OnStale::Refuse,
        };
        let made = self.control_plane.organization_create(&self.caller, new).await.expect("made");
        let organization = made.0.id;
        let new = NewKey {
            idempotency_key: fresh(),
            organization,
            name: "key".parse().expect("good"),
            allowed_models: Vec::new(),
            allowed_ranges: AllowedRanges::default(),
            expires_at: None,
        };
        let key = self.control_plane.key_create(&self.caller, new).await.expect("made");
        let (name, secret) =
            ("credential".parse().expect("good"), ProviderSecret::new("sk-secret").expect("good"));
        let credential =
            self.control_plane.credential_create(&self.caller, fresh(), organization, name, secret).await;
        let credential = credential.expect("made").0.row.id;
        Resident { organization, key: key.key.row.id, credential }
    }

    /// A limit of its organization, which has none.
    pub(crate) async fn limit(&self, resident: &Resident) {
        let new = NewLimit {
            idempotency_key: fresh(),
            organization: resident.organization,
            measure: Measure::NanoUsdTotal,
            amount: 1_000_000,
            keys: Over::One(resident.key),
            models: Over::All,
            deployments: Over::All,
        };
        self.control_plane.limit_create(&self.caller, new).await.expect("made");
    }

    pub(crate) async fn delete(&self, resident: &Resident) {
        self.control_plane.organization_delete(&self.caller, resident.organization).await.expect("deleted");
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(crate) async fn inspect(&self) -> Findings {
        self.inspect_with(self.vault.as_ref()).await
    }

    pub(crate) async fn inspect_with(&self, vault: &dyn Vault) -> Findings {
        let mut rows = self.control_plane.parts.store.rows().await.expect("read");
        let home = &self.control_plane.parts.jurisdiction;
        inspect(rows.as_mut(), vault, home, &mut |_, _| {}).await.expect("inspected")
    }
}

pub(crate) fn fresh<T: std::str::FromStr<Err: std::fmt::Debug>>() -> T {
    RequestId::random().to_string().parse().expect("good")
}
