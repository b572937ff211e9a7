use bailiwick_domain::{
    jurisdiction::Jurisdiction,
    key::{ApiKey, Pepper, PresentedKey},
    region::Regions,
    time::{Clock as _, SystemClock},
};
use bailiwick_proto::{
    config::v1::{self as config, Resource, ResourceId, ResourceKind, resource::Kind},
    convert::resource_id,
    digest::{resource_digest, shard_of},
    worker::v1 as wire,
};

use super::*;

/// A region's authority, by the region's name.
pub(super) fn of_region(name: &str) -> Jurisdiction {
    Jurisdiction::of(Regions::builtin().by_name_str(name).unwrap())
}

pub(super) fn here() -> Jurisdiction {
    of_region("eu-central-1")
}

/// Makes resources of one organization.
pub(super) struct Tenant {
    pub(super) region: Jurisdiction,
    pub(super) organization: OrganizationId,
}

impl Tenant {
    pub(super) fn new(region: &Jurisdiction) -> Self {
        Self { region: region.clone(), organization: region.mint_random(SystemClock.now()).into_inner() }
    }

    pub(super) fn organization(&self, suspended: bool) -> Resource {
        let id = self.organization.to_string();
        resource(Kind::Organization(config::Organization { id, suspended, ..Default::default() }))
    }

    pub(super) fn key(&self, key: &ApiKey) -> Resource {
        resource(Kind::ApiKey(config::ApiKey {
            id: key.key_id().to_string(),
            organization_id: self.organization.to_string(),
            digest: key.digest(&pepper()).0.to_vec(),
            expires_at_micros: 0,
            allowed_models: Vec::new(),
            allowed_ranges: Vec::new(),
        }))
    }

    pub(super) fn credential(&self, id: CredentialId, secret: &str) -> Resource {
        let organization_id = self.organization.to_string();
        resource(Kind::Credential(config::Credential {
            id: id.to_string(),
            organization_id,
            secret: secret.into(),
        }))
    }

    pub(super) fn model(&self, id: ModelId, name: &str) -> Resource {
        let deployment: DeploymentId = self.region.mint_random(SystemClock.now()).into_inner();
        resource(Kind::Model(config::Model {
            id: id.to_string(),
            organization_id: self.organization.to_string(),
            name: name.into(),
            deployment_ids: vec![deployment.to_string()],
            created_at_micros: 1,
            ..config::Model::default()
        }))
    }

    pub(super) fn deployment(&self, id: DeploymentId, endpoint: &str) -> Resource {
        let credential: CredentialId = self.region.mint_random(SystemClock.now()).into_inner();
        resource(Kind::Deployment(config::Deployment {
            id: id.to_string(),
            organization_id: self.organization.to_string(),
            provider: "openai_compatible".into(),
            endpoint: endpoint.into(),
            upstream_model: "gpt-4o".into(),
            credential_id: credential.to_string(),
            price: None,
            api_version: String::new(),
        }))
    }
}

pub(super) fn resource(kind: Kind) -> Resource {
    Resource { kind: Some(kind) }
}

pub(super) fn pepper() -> Pepper {
    Pepper::from_bytes([7; 32])
}

pub(super) fn settings(code: &str) -> Resource {
    resource(Kind::RegionSettings(config::RegionSettings {
        region_code: code.into(),
        pepper: vec![7; 32],
        egress_rules: vec![config::EgressRule {
            pattern: "eu.api.openai.com".into(),
            jurisdiction: "eu".into(),
            private_ranges: Vec::new(),
        }],
        jurisdiction: "eu".into(),
        ..config::RegionSettings::default()
    }))
}

pub(super) fn put(resource: &Resource) -> wire::Operation {
    wire::Operation { operation: Some(wire::operation::Operation::Put(resource.clone())) }
}

pub(super) fn gone(resource: &Resource) -> wire::Operation {
    wire::Operation { operation: Some(wire::operation::Operation::Gone(resource_id(resource).unwrap())) }
}

/// What the control plane's digests are when it has these resources.
pub(super) fn digests<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> Shards {
    let mut shards = Shards::default();
    for resource in resources {
        let id = resource_id(resource).unwrap();
        shards.toggle(shard_of(id.kind(), &id.id), &resource_digest(resource));
    }
    shards
}

pub(super) fn applied(held: &Snapshot, operations: Vec<wire::Operation>) -> (Snapshot, Vec<Refused>) {
    let batch = wire::Batch { from: held.revision(), to: held.revision() + 1, operations };
    held.after(&here(), batch)
}

#[test]
fn a_request_finds_everything_that_it_needs() {
    let tenant = Tenant::new(&here());
    let (key, now) = (ApiKey::generate(here().code()), SystemClock.now());
    let (model, deployment) = (here().mint_random(now).into_inner(), here().mint_random(now).into_inner());
    let credential = here().mint_random(now).into_inner();
    let all = [
        settings("euc1"),
        tenant.organization(true),
        tenant.key(&key),
        tenant.credential(credential, "sk-secret"),
        tenant.model(model, "gpt-4o"),
        tenant.deployment(deployment, "http://[::1]:8190/v1/"),
    ];
    let (snapshot, refused) = applied(&Snapshot::default(), all.iter().map(put).collect());
    assert_eq!(refused, []);
    assert_eq!(*snapshot.shards(), digests(&all));

    let presented = PresentedKey::parse(key.expose()).unwrap();
    let entry = snapshot.key(&presented.key_id()).unwrap();
    assert!(snapshot.settings().unwrap().pepper.verify(&presented, &entry.digest));
    assert!(snapshot.organization(&entry.organization).unwrap().suspended);
    assert_eq!(snapshot.model(&entry.organization, "gpt-4o").unwrap().id, model);
    assert!(snapshot.model(&entry.organization, "gpt-4").is_none());
    assert_eq!(snapshot.models_of(&entry.organization).count(), 1);
    let deployment = snapshot.deployment(&deployment).unwrap();
    assert_eq!(deployment.prepared.host_header, "[::1]:8190");
    assert_eq!((&*deployment.prepared.host, &*deployment.prepared.path_prefix), ("::1", "/v1"));
    let credential = snapshot.credential(&credential).unwrap();
    let Secret::Shown { authorization, .. } = &credential.secret else { panic!("it is shown") };
    assert_eq!(authorization.as_bytes(), b"Bearer sk-secret");
    assert!(!format!("{credential:?} {authorization:?}").contains("sk-secret"));
}

#[test]
fn ranges_that_cannot_be_read_change_nothing() {
    let (tenant, key) = (Tenant::new(&here()), ApiKey::generate(here().code()));
    let narrowed = |ranges: &[String]| {
        let (mut organization, mut key) = (tenant.organization(false), tenant.key(&key));
        if let (Some(Kind::Organization(organization)), Some(Kind::ApiKey(key))) =
            (&mut organization.kind, &mut key.kind)
        {
            (organization.allowed_ranges, key.allowed_ranges) = (ranges.to_vec(), ranges.to_vec());
        }
        vec![put(&organization), put(&key)]
    };
    let held = |snapshot: &Snapshot| {
        let key = snapshot.key(&key.key_id()).unwrap();
        let organization = snapshot.organization(&key.organization).unwrap();
        [organization.allowed_ranges.to_string(), key.allowed_ranges.to_string()]
    };
    let (snapshot, refused) = applied(&Snapshot::default(), narrowed(&["203.0.113.0/24".into()]));
    assert_eq!((refused, held(&snapshot)), (vec![], ["203.0.113.0/24"; 2].map(String::from)));
    for ranges in [vec!["127.0.0.0/8".into(), "10.1.2.3/8".into()], vec!["127.0.0.1".into(); 101]] {
        let (next, refused) = applied(&snapshot, narrowed(&ranges));
        assert_eq!(refused.len(), 2);
        assert!(refused.iter().all(|one| one.reason.starts_with("allowed_ranges: ")), "{refused:?}");
        assert_eq!(held(&next), held(&snapshot));
    }
}

#[test]
fn a_key_says_what_narrows_it() {
    let (tenant, key) = (Tenant::new(&here()), ApiKey::generate(here().code()));
    let mut narrowed = tenant.key(&key);
    if let Some(Kind::ApiKey(key)) = &mut narrowed.kind {
        (key.expires_at_micros, key.allowed_models) = (9, vec!["gpt-4o".into()]);
    }
    let entry = |snapshot: &Snapshot| snapshot.key(&key.key_id()).unwrap();
    let (wide, _) = applied(&Snapshot::default(), vec![put(&tenant.key(&key))]);
    assert_eq!(entry(&wide).expires_at, None);
    assert!(entry(&wide).allows("gpt-4o") && entry(&wide).allows("gpt-4"));
    let (narrow, _) = applied(&wide, vec![put(&narrowed)]);
    assert_eq!(entry(&narrow).expires_at.map(|at| at.as_micros()), Some(9));
    assert!(entry(&narrow).allows("gpt-4o") && !entry(&narrow).allows("gpt-4"));
}

#[test]
fn a_request_sees_one_revision_whatever_arrives() {
    let handle = SnapshotHandle::default();
    let (tenant, key) = (Tenant::new(&here()), ApiKey::generate(here().code()));
    let (first, _) = applied(&Snapshot::default(), vec![put(&tenant.key(&key))]);
    handle.store(first);
    let seen = handle.load_full();
    let (second, _) = applied(&seen, vec![gone(&tenant.key(&key))]);
    handle.store(second);
    assert!(seen.key(&key.key_id()).is_some());
    assert!(handle.load().key(&key.key_id()).is_none());
}

#[test]
fn r5_a_foreign_identifier_is_refused_and_the_last_good_state_kept() {
    let (tenant, key) = (Tenant::new(&here()), ApiKey::generate(here().code()));
    let good = tenant.key(&key);
    let (held, _) = applied(&Snapshot::default(), vec![put(&good), put(&settings("euc1"))]);

    let abroad = Tenant::new(&of_region("us-east-1"));
    // This region's key, of another region's organization; another region's key; another region's settings.
    let stolen = abroad.key(&key);
    let foreign = abroad.key(&ApiKey::generate(abroad.region.code()));
    let other = tenant.key(&ApiKey::generate(here().code()));
    let bad = [stolen.clone(), foreign.clone(), settings("use1")];
    let (next, refused) = applied(&held, bad.iter().chain([&other]).map(put).collect());

    assert_eq!(
        refused.iter().map(|refused| &refused.resource).collect::<Vec<_>>(),
        bad.iter().map(|bad| resource_id(bad).unwrap()).collect::<Vec<_>>().iter().collect::<Vec<_>>()
    );
    assert!(refused.iter().all(|refused| refused.reason.contains("use1")), "{refused:?}");
    assert_eq!(next.key(&key.key_id()).unwrap().organization, tenant.organization);
    assert_eq!(next.settings().unwrap().code, here().code());
    assert_eq!(next.keys.len(), 2, "the rest of the batch is applied");
    // The digests are of what was received: what was refused is not taken for drift.
    assert_eq!(*next.shards(), digests([&stolen, &foreign, &settings("use1"), &other, &settings("euc1")]));

    // The control plane mends the one and withdraws the other.
    let (mended, refused) = applied(&next, vec![put(&good), gone(&foreign), gone(&settings("use1"))]);
    assert_eq!(refused, []);
    assert_eq!(*mended.shards(), digests([&good, &other, &settings("euc1"), &settings("use1")]));
}

#[test]
fn r12_a_removal_is_never_refused() {
    let (tenant, key) = (Tenant::new(&here()), ApiKey::generate(here().code()));
    let good = tenant.key(&key);
    let (held, _) = applied(&Snapshot::default(), vec![put(&good)]);
    let (bad, refused) = applied(&held, vec![put(&Tenant::new(&of_region("us-west-1")).key(&key))]);
    assert_eq!(refused.len(), 1);
    let nonsense = |kind: ResourceKind, id: &str| wire::Operation {
        operation: Some(wire::operation::Operation::Gone(ResourceId { kind: kind.into(), id: id.into() })),
    };
    let (next, refused) = applied(
        &bad,
        vec![
            nonsense(ResourceKind::ApiKey, "key_usw1_0000000000000000"),
            nonsense(ResourceKind::Unspecified, "x"),
            gone(&good),
        ],
    );
    assert_eq!(refused, []);
    assert!(next.key(&key.key_id()).is_none());
    assert_eq!(*next.shards(), Shards::default());
}

#[test]
fn bad_resources_are_refused_with_the_field_and_without_their_content() {
    let tenant = Tenant::new(&here());
    let now = SystemClock.now();
    let mut short = tenant.key(&ApiKey::generate(here().code()));
    if let Some(Kind::ApiKey(key)) = &mut short.kind {
        key.digest.pop();
    }
    let cases = [
        (short, "digest"),
        (tenant.credential(here().mint_random(now).into_inner(), "sk-canary\n"), "secret"),
        (tenant.credential(here().mint_random(now).into_inner(), ""), "secret"),
        (tenant.model(here().mint_random(now).into_inner(), "a name with spaces"), "name"),
        (tenant.deployment(here().mint_random(now).into_inner(), "http://provider.example"), "endpoint"),
        (Resource { kind: None }, "empty"),
    ];
    for (bad, field) in cases {
        let mut snapshot = Snapshot::default();
        let refused = snapshot.put(&here(), bad).unwrap_err();
        assert!(refused.reason.contains(field), "{refused:?}");
        assert!(!format!("{refused:?}").contains("canary"));
    }
}

#[test]
fn a_name_moves_from_one_model_to_another_in_any_order() {
    let tenant = Tenant::new(&here());
    let (one, two): (ModelId, ModelId) = (
        here().mint_random(SystemClock.now()).into_inner(),
        here().mint_random(SystemClock.now()).into_inner(),
    );
    let (held, _) =
        applied(&Snapshot::default(), vec![put(&tenant.model(one, "a")), put(&tenant.model(two, "b"))]);
    // `b` goes to the first model before the second has given it up.
    let (next, _) = applied(&held, vec![put(&tenant.model(one, "b")), put(&tenant.model(two, "c"))]);
    let found = |name| next.model(&tenant.organization, name).map(|model| model.id);
    assert_eq!((found("a"), found("b"), found("c")), (None, Some(one), Some(two)));
    let (last, _) = applied(&next, vec![gone(&tenant.model(one, "b")), gone(&tenant.model(two, "c"))]);
    assert_eq!(last.models_of(&tenant.organization).count(), 0);
    assert_eq!(*last.shards(), Shards::default());
}

#[test]
fn r12_a_key_that_a_repair_does_not_name_is_gone() {
    let tenant = Tenant::new(&here());
    let keys: Vec<ApiKey> = (0..2000).map(|_| ApiKey::generate(here().code())).collect();
    let resources: Vec<Resource> = keys.iter().map(|key| tenant.key(key)).collect();
    let (held, _) = applied(&Snapshot::default(), resources.iter().map(put).collect());
    let shard = shard_of(ResourceKind::ApiKey, &keys[0].key_id().to_string());
    let in_shard = |key: &ApiKey| shard_of(ResourceKind::ApiKey, &key.key_id().to_string()) == shard;
    let missed = ApiKey::generate(here().code());

    // The control plane has revoked all keys of the shard, and made one that the worker has not heard of.
    let repair = wire::ShardRepair { revision: 1, shard: shard.into(), resources: vec![tenant.key(&missed)] };
    let (next, refused) = held.repaired(&here(), repair);
    assert_eq!(refused, []);
    for key in &keys {
        assert_eq!(next.key(&key.key_id()).is_none(), in_shard(key));
    }
    assert!(next.key(&missed.key_id()).is_some());
    assert_eq!(next.keys.len(), keys.iter().filter(|key| !in_shard(key)).count() + 1);
    let kept = resources.iter().zip(&keys).filter(|(_, key)| !in_shard(key)).map(|(resource, _)| resource);
    assert_eq!(*next.shards(), digests(kept.chain([&tenant.key(&missed)])));
}

/// Run with `--ignored --nocapture`, and with optimization, to see the figures.
#[test]
#[ignore = "takes a while; prints what a million keys take"]
fn a_million_keys() {
    const KEYS: usize = 1_000_000;
    let tenant = Tenant::new(&here());
    let resources: Vec<Resource> = (0..KEYS).map(|_| tenant.key(&ApiKey::generate(here().code()))).collect();
    let ids: Vec<ResourceId> = resources.iter().map(|key| resource_id(key).unwrap()).collect();
    let before = resident_bytes();
    let started = Instant::now();
    let mut snapshot = Snapshot::default();
    let mut last = None;
    for resource in &resources {
        last = Some(snapshot.put(&here(), resource.clone()));
    }
    assert_eq!(last, Some(Ok(())));
    println!("built in {:?}, {} bytes a key", started.elapsed(), (resident_bytes() - before) / KEYS);
    let started = Instant::now();
    let found = ids.iter().filter(|id| snapshot.key(&id.id.parse().unwrap()).is_some()).count();
    println!("{found} looked up in {:?}", started.elapsed());
    let started = Instant::now();
    let (next, _) = applied(&snapshot, vec![gone(&resources[0])]);
    println!("one revoked in {:?}", started.elapsed());
    assert_eq!((found, next.keys.len()), (KEYS, KEYS - 1));
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// A limit of a key, of 5 calls a minute.
fn limited(tenant: &Tenant, key: &ApiKey) -> Resource {
    let which = Some(config::limited_keys::Which::KeyId(key.key_id().to_string()));
    let limit = config::Limit {
        number: 1,
        measure: config::LimitMeasure::RequestsPerMinute.into(),
        amount: 5,
        keys: Some(config::LimitedKeys { which }),
        models: None,
        deployments: None,
    };
    let (id, limits) = (tenant.organization.to_string(), vec![limit]);
    resource(Kind::Organization(config::Organization { id, limits, ..Default::default() }))
}

#[test]
fn r5_limits_that_name_another_regions_key_are_refused_and_the_last_good_ones_stay() {
    let (here, tenant) = (here(), Tenant::new(&here()));
    let amounts = |snapshot: &Snapshot| {
        let limits = snapshot.organization(&tenant.organization).unwrap().limits.clone();
        limits.map(|limits| limits.iter().map(bailiwick_quota::limit::Limit::amount).collect::<Vec<_>>())
    };
    let mut snapshot = Snapshot::default();
    snapshot.put(&here, tenant.organization(false)).unwrap();
    assert_eq!(amounts(&snapshot), None);
    snapshot.put(&here, limited(&tenant, &ApiKey::generate(here.code()))).unwrap();
    assert_eq!(amounts(&snapshot), Some(vec![5]));
    let foreign = ApiKey::generate(of_region("us-east-1").code());
    let refused = snapshot.put(&here, limited(&tenant, &foreign)).unwrap_err();
    assert_eq!(refused.resource.id, tenant.organization.to_string());
    assert_eq!(amounts(&snapshot), Some(vec![5]));
}
