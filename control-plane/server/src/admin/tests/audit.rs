//! R11: no change without its record.

use std::{future::Future, sync::Arc};

use async_trait::async_trait;
use bailiwick_core::{
    caller::Caller,
    control_plane::{ControlPlane, Parts},
    error::UseCaseError,
    organization::NewOrganization,
    ports::vault::{DataKey, KeyScope, SealContext, Sealed, Vault, VaultError, WrappedDataKey},
    records::Page,
};
use bailiwick_domain::{
    organization::OnStale,
    region::RegionCode,
    spiffe::{ProcessRole, SpiffeId},
};
use bailiwick_proto::{admin::v1 as wire, status::reason_of};
use tonic::{Response, Status};
use zeroize::Zeroizing;

use super::world::{World, credential, deployment, fresh, key, model};

/// Makes one change and looks at the chains: exactly one new record, on the chain that it belongs to. Gives the answer and the record.
async fn recorded<T>(
    world: &World,
    organization: &str,
    on: &str,
    action: &str,
    change: impl Future<Output = Result<Response<T>, Status>>,
) -> (T, wire::AuditRecord) {
    let other = if on.is_empty() { organization } else { "" };
    let before = (world.records(on).await.len(), world.records(other).await.len());
    let answer = change.await.expect(action).into_inner();
    let mut records = world.records(on).await;
    assert_eq!((records.len(), world.records(other).await.len()), (before.0 + 1, before.1), "{action}");
    let last = records.pop().expect("one");
    assert_eq!(last.action, action);
    assert_eq!(last.actor, "spiffe://eu-central-1.test/operator/alice");
    (answer, last)
}

/// The same for a change that workers hear of: the record names its revision.
macro_rules! changed {
    ($world:expr, $organization:expr, $on:expr, $action:expr, $change:expr) => {{
        let (answer, record) = recorded($world, $organization, $on, $action, $change).await;
        let revision = answer.change.as_ref().expect("told").revision;
        assert_eq!(record.revision, revision, "{}", $action);
        assert_eq!(world_revision($world).await, revision, "{}", $action);
        answer
    }};
}

async fn world_revision(world: &World) -> u64 {
    world.region().get_region(wire::GetRegionRequest {}).await.expect("told").into_inner().revision
}

#[tokio::test]
async fn r11_each_change_adds_exactly_one_record() {
    let world = World::new().await;
    let org = world.organization().await;
    let made: Vec<_> = world.records(&org).await.into_iter().map(|record| record.action).collect();
    assert_eq!(made, ["organization.create"]);
    let (w, o) = (&world, org.as_str());

    let made = changed!(w, o, o, "key.create", w.keys().create_key(key(o)));
    let id = made.key.expect("told").id;
    let rotate = |overlap_seconds| wire::RotateKeyRequest {
        id: id.clone(),
        overlap_seconds,
        idempotency_key: fresh(),
    };
    changed!(w, o, o, "key.rotate", w.keys().rotate_key(rotate(60)));
    changed!(w, o, o, "key.revoke", w.keys().revoke_key(wire::RevokeKeyRequest { id: id.clone() }));

    let made = changed!(w, o, o, "credential.create", w.credentials().create_credential(credential(o)));
    let secret = made.credential.expect("told").id;
    let replace = wire::ReplaceCredentialRequest { id: secret.clone(), secret: "sk-2".into() };
    changed!(w, o, o, "credential.replace", w.credentials().replace_credential(replace));
    let made = changed!(w, o, o, "deployment.create", w.models().create_deployment(deployment(o, &secret)));
    let target = made.deployment.expect("told").id;
    let made = changed!(w, o, o, "model.create", w.models().create_model(model(o, "gpt", &target)));
    let public = made.model.expect("told").id;
    let update = wire::UpdateModelRequest {
        id: public.clone(),
        deployment_ids: vec![target.clone()],
        ..Default::default()
    };
    changed!(w, o, o, "model.update", w.models().update_model(update));
    changed!(w, o, o, "model.delete", w.models().delete_model(wire::DeleteModelRequest { id: public }));
    let delete = wire::DeleteDeploymentRequest { id: target };
    changed!(w, o, o, "deployment.delete", w.models().delete_deployment(delete));
    let delete = wire::DeleteCredentialRequest { id: secret };
    changed!(w, o, o, "credential.delete", w.credentials().delete_credential(delete));

    for (suspended, action) in [(true, "organization.suspend"), (false, "organization.resume")] {
        let suspend = wire::SuspendOrganizationRequest { id: org.clone(), suspended };
        changed!(w, o, o, action, w.organizations().suspend_organization(suspend));
    }
    let token = wire::CreateJoinTokenRequest {
        idempotency_key: fresh(),
        role: "worker".into(),
        name: "worker-1".into(),
        lifetime_seconds: 0,
    };
    recorded(w, o, "", "join_token.create", w.region().create_join_token(token)).await;
    assert!(world.intact(o).await);
    let delete = wire::DeleteOrganizationRequest { id: org.clone() };
    changed!(w, o, "", "organization.delete", w.organizations().delete_organization(delete));
    assert!(world.intact("").await);
    assert!(world.intact(o).await, "destroying the data keys leaves the chain verifiable");
}

#[tokio::test]
async fn r11_what_is_refused_changes_nothing_and_leaves_no_record_of_a_change() {
    let world = World::new().await;
    let org = world.organization().await;
    let secret = world.credential(&org).await;
    let target = world.deployment(&org, &secret).await;
    world.models().create_model(model(&org, "gpt", &target)).await.expect("created");
    let before = (world.records(&org).await.len(), world_revision(&world).await);

    let delete = wire::DeleteCredentialRequest { id: secret };
    let refused = world.credentials().delete_credential(delete).await.expect_err("in use");
    assert_eq!(reason_of(&refused).as_deref(), Some("credential_in_use"));
    assert!(refused.message().contains(&target), "{refused}");
    let refused =
        world.models().delete_deployment(wire::DeleteDeploymentRequest { id: target.clone() }).await;
    assert_eq!(reason_of(&refused.expect_err("in use")).as_deref(), Some("deployment_in_use"));
    let refused = world.models().create_model(model(&org, "gpt", &target)).await.expect_err("taken");
    assert_eq!(
        (refused.code(), reason_of(&refused).as_deref()),
        (tonic::Code::AlreadyExists, Some("model_name_taken"))
    );

    assert_eq!((world.records(&org).await.len(), world_revision(&world).await), before);
    let again = model(&org, "gpt-2", &target);
    world.models().create_model(again).await.expect("a refused transaction is rolled back whole");
}

#[tokio::test]
async fn r11_what_cannot_be_recorded_does_not_happen() {
    let world = World::new().await;
    let parts = &world.control_plane.parts;
    let deaf = ControlPlane::new(Parts {
        store: Arc::clone(&parts.store),
        vault: Arc::new(Unrecordable(Arc::clone(&parts.vault))),
        coordination: Arc::clone(&parts.coordination),
        authority: Arc::clone(&parts.authority),
        tokens: Arc::clone(&parts.tokens),
        clock: Arc::clone(&parts.clock),
        fleet: Arc::clone(&parts.fleet),
        trust: Arc::clone(&parts.trust),
        jurisdiction: parts.jurisdiction.clone(),
        regions: parts.regions.clone(),
        trust_domain: parts.trust_domain.clone(),
        pepper: parts.pepper.clone(),
        settings: parts.settings.clone(),
    });
    let alice = SpiffeId::new(parts.trust_domain.clone(), ProcessRole::Operator, "alice").expect("a name");
    let caller = Caller::new(alice);
    let new = NewOrganization {
        idempotency_key: fresh().parse().expect("a key"),
        region: parts.jurisdiction.region().name.clone(),
        name: "Acme".parse().expect("a name"),
        contact_email: None,
        on_stale: OnStale::Refuse,
    };
    let refused = deaf.organization_create(&caller, new.clone()).await;
    assert!(matches!(refused, Err(UseCaseError::Internal(_))), "{refused:?}");
    let page = Page { size: 10, token: None };
    let there = world.control_plane.organization_list(&caller, &page).await.expect("listed");
    assert!(there.rows.is_empty(), "{there:?}");
    let made = world.control_plane.organization_create(&caller, new).await;
    made.expect("not even the idempotency key was taken");
}

/// A vault that seals everything but audit records.
struct Unrecordable(Arc<dyn Vault>);

struct UnrecordableKey(Arc<dyn DataKey>);

#[async_trait]
impl Vault for Unrecordable {
    fn region_code(&self) -> RegionCode {
        self.0.region_code()
    }

    fn master_key(&self) -> &str {
        self.0.master_key()
    }

    fn knows_master_key(&self, name: &str) -> bool {
        self.0.knows_master_key(name)
    }

    async fn rewrap(&self, key: &WrappedDataKey) -> Result<WrappedDataKey, VaultError> {
        self.0.rewrap(key).await
    }

    async fn create_data_key(&self, scope: KeyScope, version: u32) -> Result<WrappedDataKey, VaultError> {
        self.0.create_data_key(scope, version).await
    }

    async fn unlock(&self, key: &WrappedDataKey) -> Result<Arc<dyn DataKey>, VaultError> {
        Ok(Arc::new(UnrecordableKey(self.0.unlock(key).await?)))
    }

    fn forget(&self, scope: KeyScope) {
        self.0.forget(scope);
    }
}

impl DataKey for UnrecordableKey {
    fn version(&self) -> u32 {
        self.0.version()
    }

    fn seal(&self, context: SealContext<'_>, plaintext: &[u8]) -> Result<Sealed, VaultError> {
        if context.table == "audit_records" {
            return Err(VaultError::Crypto);
        }
        self.0.seal(context, plaintext)
    }

    fn open(&self, context: SealContext<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        self.0.open(context, sealed)
    }
}
