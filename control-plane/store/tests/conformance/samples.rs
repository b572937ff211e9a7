//! Records to work with. Sealed fields hold any bytes: the store never looks into them.

use bailiwick_core::{
    ports::{
        store::{Store, StoreError, Transaction},
        vault::{KeyScope, Sealed, WrappedDataKey},
    },
    records::{
        ApiKeyRecord, AuditDraft, BackupRecord, Chain, ChangedResource, ContractPriceRecord,
        CredentialRecord, DeploymentRecord, JoinTokenRecord, ModelDeployment, ModelRecord,
        OrganizationRecord, Page, Revision, RotationRecord, RotationSubject, ServiceAccountRecord,
        TokenKeyRecord, WorkerRecord,
    },
};
use bailiwick_domain::{
    egress::Residency,
    id::{CredentialId, DeploymentId, OrganizationId},
    jurisdiction::Local,
    key::{ApiKey, CaFingerprint, JoinToken, KeyDigest, KeyId, ServiceSecret},
    money::NanoUsd,
    organization::{OnStale, OrganizationRole, OrganizationStatus},
    price::{MediaCounts, PerMillion, Price, TokenCounts},
    routing::{Fallbacks, Rank, Strategy},
    spiffe::ProcessRole,
    time::Timestamp,
    usage::{CallEnd, CallType, EventId, RequestId, UsageEvent, UsageSource},
};

use crate::fixture::{Fixture, NOW};

pub(crate) fn sealed(text: &str) -> Sealed {
    Sealed(format!("sealed {text}").into_bytes())
}

pub(crate) fn organization(fixture: &Fixture) -> OrganizationRecord {
    OrganizationRecord {
        id: fixture.home.mint_random(NOW),
        name: sealed("name"),
        contact_email: Some(sealed("address")),
        contact_email_hash: Some([7; 32]),
        status: OrganizationStatus::Active,
        on_stale: OnStale::Serve,
        residency: Residency::Region,
        allowed_ranges: "203.0.113.0/24 2001:db8::/32".parse().expect("good"),
        created_at: NOW,
    }
}

pub(crate) fn key(fixture: &Fixture, organization: Local<OrganizationId>) -> ApiKeyRecord {
    let id: KeyId = ApiKey::generate(fixture.home.code()).key_id();
    ApiKeyRecord {
        id: fixture.home.admit(id).expect("of this region"),
        organization,
        name: sealed("key"),
        digest: KeyDigest([9; 32]),
        allowed_ranges: "198.51.100.7".parse().expect("good"),
        allowed_models: vec!["gpt-4o".parse().expect("good"), "a/b:c@d+e".parse().expect("good")],
        created_at: NOW,
        expires_at: None,
        revoked_at: None,
    }
}

pub(crate) fn service_account(
    fixture: &Fixture,
    organization: Local<OrganizationId>,
) -> ServiceAccountRecord {
    let id = ServiceSecret::generate(fixture.home.code()).account();
    ServiceAccountRecord {
        id: fixture.home.admit(id).expect("of this region"),
        organization,
        name: sealed("program"),
        role: OrganizationRole::Viewer,
        digest: KeyDigest([8; 32]),
        version: 1,
        created_at: NOW,
        rotated_at: None,
        revoked_at: None,
    }
}

pub(crate) fn token_key(fixture: &Fixture, created_at: Timestamp) -> TokenKeyRecord {
    TokenKeyRecord { id: fixture.home.mint_random(created_at), sealed: sealed("token key"), created_at }
}

pub(crate) fn credential(fixture: &Fixture, organization: Local<OrganizationId>) -> CredentialRecord {
    CredentialRecord {
        id: fixture.home.mint_random(NOW),
        organization,
        name: sealed("credential"),
        secret: sealed("secret"),
        version: 1,
        created_at: NOW,
        replaced_at: None,
    }
}

pub(crate) fn deployment(
    fixture: &Fixture,
    organization: Local<OrganizationId>,
    credential: Local<CredentialId>,
) -> DeploymentRecord {
    let price = |nanos| PerMillion::from_nanos(nanos).expect("in bounds");
    DeploymentRecord {
        id: fixture.home.mint_random(NOW),
        organization,
        provider: "openai_compatible".parse().expect("good"),
        endpoint: "https://api.example.com/v1".parse().expect("good"),
        upstream_model: "gpt-4o-2024".parse().expect("good"),
        credential,
        api_version: Some("2025-04-01-preview".parse().expect("good")),
        price: Some(Price {
            input: price(2_500_000_000),
            output: price(10_000_000_000),
            cached_input: None,
            cache_write: Some(price(0)),
            image: Some(price(40_000_000)),
            audio_minute: None,
        }),
        contract_price: None,
        created_at: NOW,
    }
}

/// Of the model that [`deployment`] deploys.
pub(crate) fn contract_price(organization: Local<OrganizationId>) -> ContractPriceRecord {
    let price = |nanos| PerMillion::from_nanos(nanos).expect("in bounds");
    ContractPriceRecord {
        organization,
        provider: "openai_compatible".parse().expect("good"),
        upstream_model: "gpt-4o-2024".parse().expect("good"),
        price: Price { audio_minute: Some(price(3)), ..Price::of_tokens(price(1), price(2)) },
        set_at: NOW,
    }
}

pub(crate) fn model(
    fixture: &Fixture,
    organization: Local<OrganizationId>,
    name: &str,
    deployments: &[Local<DeploymentId>],
) -> ModelRecord {
    ModelRecord {
        id: fixture.home.mint_random(NOW),
        organization,
        name: name.parse().expect("good"),
        deployments: preferred(deployments),
        strategy: Strategy::default(),
        fallbacks: Fallbacks::default(),
        created_at: NOW,
    }
}

/// Deployments in order of preference.
pub(crate) fn preferred(deployments: &[Local<DeploymentId>]) -> Vec<ModelDeployment> {
    let places = deployments.iter().enumerate();
    places.map(|(place, id)| ModelDeployment { deployment: *id, rank: Rank::alone(place) }).collect()
}

pub(crate) fn draft(chain: Chain, action: &'static str) -> AuditDraft {
    AuditDraft { chain, at: NOW, actor: sealed("actor"), action, subject: "subject".to_owned() }
}

pub(crate) fn page(size: u32, token: Option<String>) -> Page {
    Page { size, token }
}

/// One mutation from its begin to its commit, recorded in the region's chain.
pub(crate) async fn mutate<F>(
    fixture: &Fixture,
    changes: &[ChangedResource],
    change: F,
) -> Result<Revision, StoreError>
where
    F: AsyncFnOnce(&mut dyn Transaction) -> Result<(), StoreError>,
{
    let mut transaction = fixture.store.begin().await?;
    change(transaction.as_mut()).await?;
    transaction.commit(draft(Chain::Region, "test"), changes).await
}

/// An organization that is stored.
pub(crate) async fn stored_organization(fixture: &Fixture) -> OrganizationRecord {
    let row = organization(fixture);
    let changes = [ChangedResource::Organization(row.id)];
    mutate(fixture, &changes, async |t| t.organization_insert(&row).await).await.expect("stored");
    row
}

/// One of everything that an organization can have.
pub(crate) struct Tenant {
    pub(crate) organization: OrganizationRecord,
    pub(crate) key: ApiKeyRecord,
    pub(crate) credential: CredentialRecord,
    pub(crate) deployment: DeploymentRecord,
    pub(crate) model: ModelRecord,
}

impl Tenant {
    pub(crate) async fn stored(fixture: &Fixture) -> Self {
        let organization = organization(fixture);
        let id = organization.id;
        let (key, credential) = (key(fixture, id), credential(fixture, id));
        let deployment = deployment(fixture, id, credential.id);
        let model = model(fixture, id, "gpt-4o", &[deployment.id]);
        let tenant = Self { organization, key, credential, deployment, model };
        mutate(fixture, &tenant.resources(), async |t| {
            t.organization_insert(&tenant.organization).await?;
            t.key_insert(&tenant.key).await?;
            t.credential_insert(&tenant.credential).await?;
            t.deployment_insert(&tenant.deployment).await?;
            t.model_insert(&tenant.model).await
        })
        .await
        .expect("stored");
        tenant
    }

    pub(crate) fn resources(&self) -> [ChangedResource; 5] {
        [
            ChangedResource::Organization(self.organization.id),
            ChangedResource::ApiKey(self.key.id),
            ChangedResource::Credential(self.credential.id),
            ChangedResource::Deployment(self.deployment.id),
            ChangedResource::Model(self.model.id),
        ]
    }

    /// A completed call with this tenant's key that started at `started`.
    pub(crate) fn call(&self, fixture: &Fixture, started: Timestamp) -> Local<UsageEvent> {
        let mut event = call_of(fixture, self.organization.id, started).into_inner();
        event.key = self.key.id.into_inner();
        event.model = self.model.id.into_inner();
        event.deployment = self.deployment.id.into_inner();
        fixture.home.admit(event).expect("of this region")
    }
}

/// A completed call of an organization, with a key, a model and a deployment that nobody knows.
pub(crate) fn call_of(
    fixture: &Fixture,
    organization: Local<OrganizationId>,
    started: Timestamp,
) -> Local<UsageEvent> {
    let event = UsageEvent {
        event_id: EventId::new(started),
        request_id: RequestId::random(),
        organization: organization.into_inner(),
        key: ApiKey::generate(fixture.home.code()).key_id(),
        model: fixture.home.mint_random(NOW).into_inner(),
        deployment: fixture.home.mint_random(NOW).into_inner(),
        call_type: CallType::ChatCompletion,
        stream: true,
        status: 200,
        end: CallEnd::Completed,
        source: UsageSource::ProviderFinal,
        tokens: TokenCounts {
            prompt: 100,
            completion: 20,
            cached_prompt: 10,
            cache_write: 30,
            cache_write_hour: 4,
            reasoning: 5,
        },
        media: MediaCounts { images: 2, audio_millis: 1500 },
        cost: NanoUsd::from_nanos(1_000_000_007),
        priced: true,
        started,
        first_byte: Some(started),
        finished: started,
        attempts: 1,
    };
    fixture.home.admit(event).expect("of this region")
}

pub(crate) fn worker(fixture: &Fixture, name: &str) -> WorkerRecord {
    WorkerRecord {
        id: fixture.home.mint_random(NOW),
        role: ProcessRole::Worker,
        name: name.to_owned(),
        enrolled_at: NOW,
        certificate_expires_at: later(3600),
        last_seen_at: None,
    }
}

pub(crate) fn join_token(fixture: &Fixture) -> JoinTokenRecord {
    JoinTokenRecord {
        id: JoinToken::generate(fixture.home.code(), CaFingerprint([1; 32])).id(),
        digest: KeyDigest([3; 32]),
        role: ProcessRole::Worker,
        name: "worker-1".to_owned(),
        expires_at: later(600),
        used_at: None,
    }
}

pub(crate) fn backup(fixture: &Fixture) -> BackupRecord {
    BackupRecord { id: fixture.home.mint_random(NOW), created_at: NOW, keys_expire_at: later(3600) }
}

pub(crate) fn data_key(scope: KeyScope, version: u32) -> WrappedDataKey {
    WrappedDataKey { scope, version, master: "local:0011223344556677".to_owned(), wrapped: vec![42; 60] }
}

pub(crate) fn later(seconds: u64) -> Timestamp {
    NOW.saturating_add(std::time::Duration::from_secs(seconds))
}

fn rotation(fixture: &Fixture) -> RotationRecord {
    RotationRecord {
        id: fixture.home.mint_random(NOW),
        subject: RotationSubject::MasterKey,
        target: "local:0011223344556677".to_owned(),
        total: 1,
        done: 0,
        started_at: NOW,
        finished_at: None,
    }
}

pub(crate) const TABLES: [&str; 33] = [
    "cluster_identity",
    "region_revision",
    "configuration_changes",
    "region_secrets",
    "data_keys",
    "idempotency_keys",
    "organizations",
    "api_keys",
    "credentials",
    "deployments",
    "contract_prices",
    "models",
    "model_deployments",
    "join_tokens",
    "workers",
    "trust",
    "revoked_certificates",
    "certificates",
    "audit_chains",
    "audit_records",
    "usage_blocks",
    "usage_hourly",
    "rotations",
    "service_accounts",
    "token_keys",
    "backups",
    "destructions",
    "destroyed_rows",
    "limits",
    "quota_term",
    "quota_holders",
    "quota_accounts",
    "quota_leases",
];

pub(crate) async fn one_row_in_every_table(fixture: &Fixture) -> Tenant {
    let tenant = Tenant::stored(fixture).await;
    let gone = stored_organization(fixture).await;
    crate::quota::one_row_in_every_table(fixture, &tenant).await;
    mutate(fixture, &[], async |t| {
        t.rotation_insert(&rotation(fixture)).await?;
        t.service_account_insert(&service_account(fixture, tenant.organization.id)).await?;
        t.contract_price_set(&contract_price(tenant.organization.id)).await?;
        t.token_key_insert(&token_key(fixture, NOW)).await?;
        t.organization_destroy(gone.id, NOW).await?;
        t.backup_insert(&backup(fixture)).await?;
        t.region_secret_insert("ca_key", &sealed("key")).await?;
        t.data_key_insert(&data_key(KeyScope::Region, 1)).await?;
        t.idempotency_insert("method", "key", "subject", NOW).await?;
        t.join_token_insert(&join_token(fixture)).await?;
        t.certificate_note(&crate::trust::held(1, "worker-1", later(600))).await?;
        t.certificate_revoke(&crate::trust::revoked("worker-9", NOW, later(600)), NOW).await?;
        t.worker_upsert(&worker(fixture, "worker-1")).await.map(|_| ())
    })
    .await
    .expect("stored");
    fixture.store.usage_insert(&[tenant.call(fixture, NOW)]).await.expect("stored");
    tenant
}
