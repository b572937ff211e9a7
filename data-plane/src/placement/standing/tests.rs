use bailiwick_domain::{
    id::{CredentialId, OrganizationId},
    jurisdiction::Jurisdiction,
    region::Regions,
    time::{Clock as _, SystemClock},
};
use bailiwick_proto::config::v1::{self as config, Resource, resource::Kind};

use super::*;
use crate::snapshot::SnapshotHandle;

fn standings() -> Standings {
    Standings::new(7, CoreMetrics::default())
}

fn home() -> Jurisdiction {
    Jurisdiction::of(Regions::builtin().by_name_str("eu-central-1").expect("a region"))
}

fn standing() -> Rc<Standing> {
    let id = home().mint_random(SystemClock.now()).into_inner();
    Rc::new(Standing::new(id, (Weak::new(), Weak::new())))
}

#[test]
fn calls_under_way_are_counted_until_they_end() {
    let (core, standing, now) = (standings(), standing(), Instant::now());
    let calls: Vec<_> = (0..3).map(|_| core.begin(&standing, false, now).expect("begins")).collect();
    assert_eq!(standing.in_flight.get(), 3);
    drop(calls);
    assert_eq!(standing.in_flight.get(), 0);
}

#[test]
fn what_is_known_of_latency_fades_and_one_call_at_a_time_finds_out() {
    let (core, standing, now) = (standings(), standing(), Instant::now());
    let answered = |millis, at| {
        let mut attempt = core.begin(&standing, false, at).expect("begins");
        core.answered(&mut attempt, Duration::from_millis(millis), at);
    };
    assert_eq!(standing.latency_micros(now), 0, "who is not known is tried");
    answered(400, now);
    assert_eq!(standing.latency_micros(now), 400_000);
    answered(800, now);
    assert_eq!(standing.latency_micros(now), 500_000);
    let later = now + FADING;
    assert_eq!(standing.latency_micros(later), 183_939);
    let trying = core.begin(&standing, false, later).expect("begins");
    assert_eq!(standing.latency_micros(later), 500_000, "the others wait for its answer");
    drop(trying);
}

#[test]
fn while_one_call_probes_the_others_keep_away_and_its_end_without_an_answer_lets_the_next_one() {
    let (core, standing, now) = (standings(), standing(), Instant::now());
    let mut attempt = core.begin(&standing, false, now).expect("begins");
    core.failed(&mut attempt, Ill::Refusing, now);
    core.failed(&mut attempt, Ill::Refusing, now);
    drop(attempt);
    assert!(core.begin(&standing, false, now).is_none());
    assert!(core.begin(&standing, true, now).is_some(), "where nothing else is left");
    let later = now + Duration::from_secs(2);
    let probe = core.begin(&standing, false, later).expect("probes");
    assert!(core.begin(&standing, false, later).is_none());
    drop(probe);
    let mut probe = core.begin(&standing, false, later).expect("probes");
    core.answered(&mut probe, Duration::ZERO, later);
    assert!(core.begin(&standing, false, later).is_some());
}

/// A snapshot with a deployment of each of these ids.
fn snapshot(ids: &[DeploymentId], credential: CredentialId, organization: OrganizationId) -> SnapshotHandle {
    let deployments = ids.iter().map(|id| {
        Kind::Deployment(config::Deployment {
            id: id.to_string(),
            organization_id: organization.to_string(),
            provider: "openai".into(),
            endpoint: "https://api.openai.com/v1".into(),
            upstream_model: "m".into(),
            credential_id: credential.to_string(),
            ..config::Deployment::default()
        })
    });
    let secret = Kind::Credential(config::Credential {
        id: credential.to_string(),
        organization_id: organization.to_string(),
        secret: "sk".into(),
    });
    let handle = SnapshotHandle::default();
    let all = deployments.chain([secret]).map(|kind| Resource { kind: Some(kind) });
    handle.put_all(&home(), all);
    handle
}

#[test]
fn deployments_that_are_gone_are_forgotten() {
    let mint = || home().mint_random(SystemClock.now()).into_inner();
    let (core, credential) = (standings(), mint_credential());
    let organization = home().mint_random(SystemClock.now()).into_inner();
    for _ in 0..10 {
        let ids: Vec<DeploymentId> = (0..FEW).map(|_| mint()).collect();
        let handle = snapshot(&ids, credential, organization);
        let held = handle.load_full();
        for id in &ids {
            let (deployment, secret) =
                (held.deployment(id).expect("there"), held.credential(&credential).expect("there"));
            core.of(&held, deployment, secret);
        }
        assert!(core.by_id.borrow().len() <= 2 * FEW);
    }
}

#[test]
fn a_changed_secret_is_tried_at_once() {
    let (core, credential, now) = (standings(), mint_credential(), Instant::now());
    let (id, organization) = (
        home().mint_random(SystemClock.now()).into_inner(),
        home().mint_random(SystemClock.now()).into_inner(),
    );
    let refused = |admits_before: bool| {
        let handle = snapshot(&[id], credential, organization);
        let held = handle.load_full();
        let (deployment, secret) =
            (held.deployment(&id).expect("there"), held.credential(&credential).expect("there"));
        for _ in 0..2 {
            let standing = core.of(&held, deployment, secret);
            let mut attempt = core.begin(&standing, true, now).expect("forced");
            core.failed(&mut attempt, Ill::Refusing, now);
        }
        assert_eq!(core.of(&held, deployment, secret).admits(now), admits_before);
        held
    };
    let before = refused(false);
    let handle = snapshot(&[id], credential, organization);
    let held = handle.load_full();
    let (deployment, secret) =
        (held.deployment(&id).expect("there"), held.credential(&credential).expect("there"));
    assert!(core.of(&held, deployment, secret).admits(now));
    drop(before);
}

fn mint_credential() -> CredentialId {
    home().mint_random(SystemClock.now()).into_inner()
}

#[test]
fn a_path_that_was_made_once_serves_no_other_endpoint() {
    let standing = standing();
    for _ in 0..2 {
        for (prefix, path) in
            [("/v1", "/chat/completions"), ("/v2", "/chat/completions"), ("", "/embeddings")]
        {
            assert_eq!(standing.target(prefix, path).unwrap(), format!("{prefix}{path}").as_str());
        }
    }
    assert_eq!(standing.paths.borrow().len(), 2, "one of each path is kept");
}
