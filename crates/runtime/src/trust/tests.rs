use bailiwick_domain::time::ManualClock;

use super::*;
use crate::identity::tests::authority::Authority;

const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);
const LATER: Timestamp = Timestamp::from_micros(1_790_086_400_000_000);

fn following() -> Following {
    let authority = Authority::of("eu-central-1");
    of(&authority)
}

fn of(authority: &Authority) -> Following {
    let identity = authority.identity(ProcessRole::Worker);
    Following {
        identity,
        region: "eu-central-1".to_owned(),
        clock: Arc::new(ManualClock::at(NOW)),
        epoch: String::new(),
        version: 0,
    }
}

/// A state of the region that a process is in, with its present root.
fn state(following: &Following, version: u64, revoked: &[(&str, &str)]) -> FollowResponse {
    let revoked = revoked.iter().map(|(role, name)| RevokedCertificate {
        role: (*role).to_owned(),
        name: (*name).to_owned(),
        issued_until_micros: NOW.as_micros(),
        expires_at_micros: LATER.as_micros(),
    });
    FollowResponse {
        epoch: "one".to_owned(),
        version,
        revoked: revoked.collect(),
        roots_pem: following.identity.roots_pem(),
        issuing_root: following.identity.root_fingerprint().0.to_vec().into(),
    }
}

fn heard(following: &mut Following, version: u64, revoked: &[(&str, &str)]) -> Result<(), TrustError> {
    let state = state(following, version, revoked);
    following.apply(state)
}

fn refuses(following: &Following, role: ProcessRole, name: &str, issued: Timestamp) -> bool {
    let holder = SpiffeId::new(following.identity.trust_domain().clone(), role, name).expect("a name");
    following.identity.revocations().refuse(&holder, issued)
}

#[test]
fn r12_a_revocation_is_not_unheard() {
    let mut following = following();
    heard(&mut following, 2, &[("router", "one")]).expect("applied");
    assert!(refuses(&following, ProcessRole::Router, "one", NOW));
    assert!(!refuses(&following, ProcessRole::Router, "one", NOW.saturating_add(Duration::from_secs(1))));
    assert!(!refuses(&following, ProcessRole::Worker, "one", NOW), "another role is another holder");

    let older = heard(&mut following, 1, &[]).expect_err("older");
    assert!(matches!(older, TrustError::Older { offered: 1, applied: 2 }), "{older}");
    // A store that was restored begins another epoch, and may have lost it.
    let restored = FollowResponse { epoch: "two".to_owned(), ..state(&following, 1, &[]) };
    following.apply(restored).expect("applied");
    let next = FollowResponse { epoch: "two".to_owned(), ..state(&following, 2, &[]) };
    following.apply(next).expect("applied");
    assert!(refuses(&following, ProcessRole::Router, "one", NOW), "what was heard once is not unheard");
}

#[test]
fn a_revocation_is_forgotten_when_it_refuses_nothing_any_more() {
    let mut following = following();
    heard(&mut following, 1, &[("router", "one")]).expect("applied");
    following.clock = Arc::new(ManualClock::at(LATER));
    heard(&mut following, 2, &[("router", "one"), ("worker", "two")]).expect("applied");
    assert!(following.identity.revocations().is_empty());
}

#[test]
fn of_a_state_that_is_not_sound_nothing_is_applied() {
    let mut following = following();
    for unsound in [
        state(&following, 1, &[("router", "one"), ("worker", "NOT A NAME")]),
        state(&following, 1, &[("router", "one"), ("emperor", "two")]),
        state(&following, 1, &[("router", "one"), ("control-plane", "control-plane")]),
        state(&following, 1, &vec![("router", "one"); MAX_REVOCATIONS + 1]),
    ] {
        following.apply(unsound).expect_err("refused");
        assert!(following.identity.revocations().is_empty());
        assert_eq!(following.version, 0);
    }
}

#[test]
fn who_is_named_itself_knows_that_it_is_shut_out() {
    let mut following = following();
    heard(&mut following, 1, &[("worker", "another")]).expect("applied");
    assert!(!following.identity.is_disowned());
    heard(&mut following, 2, &[("worker", "one")]).expect("applied");
    assert!(following.identity.is_disowned(), "its certificate is of the year 2000");
}

#[test]
fn r3_a_state_with_a_foreign_root_is_refused_whole() {
    let (ours, theirs) = (Authority::of("eu-central-1"), Authority::of("us-east-1"));
    let mut following = of(&ours);
    let before = following.identity.trusted_roots();
    let mut state = state(&following, 1, &[("router", "one")]);
    state.roots_pem.push_str(&theirs.root_pem);
    let refused = following.apply(state).expect_err("foreign");
    assert!(matches!(refused, TrustError::Roots(_)), "{refused}");
    assert_eq!(following.identity.trusted_roots(), before);
    assert!(following.identity.revocations().is_empty());
    assert_eq!(following.version, 0);
}
