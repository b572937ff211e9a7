//! Whom the region's processes trust.

use bailiwick_core::{
    ports::store::{Store, StoreError},
    records::{
        AuthorityStage, HeldCertificate, MAX_REVOKED_CERTIFICATES, RevokedCertificate, RootSlot, TrustVersion,
    },
};
use bailiwick_domain::{key::CaFingerprint, spiffe::ProcessRole, time::Timestamp};

use crate::{
    fixture::{Fixture, NOW},
    samples::{later, mutate},
};

pub(crate) fn revoked(name: &str, issued_until: Timestamp, expires_at: Timestamp) -> RevokedCertificate {
    RevokedCertificate { role: ProcessRole::Worker, name: name.to_owned(), issued_until, expires_at }
}

/// A worker's certificate of a root.
pub(crate) fn held(root: u8, name: &str, expires_at: Timestamp) -> HeldCertificate {
    let (root, role) = (CaFingerprint([root; 32]), ProcessRole::Worker);
    HeldCertificate { root, role, name: name.to_owned(), expires_at }
}

async fn revoke(fixture: &Fixture, row: &RevokedCertificate, now: Timestamp) -> Result<(), StoreError> {
    mutate(fixture, &[], async |t| t.certificate_revoke(row, now).await.map(|_| ())).await.map(|_| ())
}

pub(crate) async fn r12_a_revocation_is_only_ever_widened_and_forgotten_when_it_is_of_no_use(
    fixture: &Fixture,
) {
    let store = &fixture.store;
    assert_eq!(store.trust_fetch().await.expect("reads").version, TrustVersion(0));
    let wide = revoked("one", later(50), later(1000));
    revoke(fixture, &wide, NOW).await.expect("revoked");
    let other = revoked("two", NOW, later(100));
    revoke(fixture, &other, NOW).await.expect("revoked");
    revoke(fixture, &revoked("one", later(20), later(500)), NOW).await.expect("revoked");
    let held = store.trust_fetch().await.expect("reads");
    assert_eq!((held.version, &held.revoked), (TrustVersion(3), &vec![wide.clone(), other]));
    assert_eq!(store.trust_version().await.expect("reads"), held.version);
    assert_eq!(
        store.revocation_fetch(ProcessRole::Worker, "one").await.expect("reads").as_ref(),
        Some(&wide)
    );
    assert_eq!(store.revocation_fetch(ProcessRole::Router, "one").await.expect("reads"), None);

    let last = revoked("three", later(200), later(2000));
    revoke(fixture, &last, later(100)).await.expect("revoked");
    let held = store.trust_fetch().await.expect("reads");
    assert_eq!(held.revoked, [wide, last], "the second had expired");
}

pub(crate) async fn revocations_are_bounded(fixture: &Fixture) {
    // As many as there may be, in one statement: each has a name of its own.
    let most = MAX_REVOKED_CERTIFICATES;
    let fill = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {most}) \
         INSERT INTO revoked_certificates (role, name, issued_until, expires_at) \
         SELECT 'worker', 'w' || i, 0, {} FROM n",
        later(1000).as_micros()
    );
    assert_eq!(fixture.tamper(&fill).await, most.unsigned_abs());
    let refused = revoke(fixture, &revoked("one-more", NOW, later(1000)), NOW).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    revoke(fixture, &revoked("w7", NOW, later(1000)), NOW)
        .await
        .expect("who is revoked can be revoked again");
    revoke(fixture, &revoked("one-more", NOW, later(3000)), later(1000)).await.expect("those have expired");
    assert_eq!(fixture.store.trust_fetch().await.expect("reads").revoked.len(), 1);
}

pub(crate) async fn the_authority_changes_step_by_step_and_each_step_once(fixture: &Fixture) {
    use AuthorityStage::{Distributing, Issuing, Settled};
    let store = &fixture.store;
    let step = async |from, to, issuing, now| {
        mutate(fixture, &[], async |t| t.authority_step(from, to, issuing, now).await.map(|_| ())).await
    };
    for row in [held(1, "one", later(100)), held(1, "one", later(50)), held(2, "one", later(300))] {
        mutate(fixture, &[], async |t| t.certificate_note(&row).await).await.expect("noted");
    }
    let all = store.held_certificates(NOW).await.expect("reads");
    assert_eq!(all, [held(1, "one", later(100)), held(2, "one", later(300))], "an end never goes back");
    assert_eq!(store.held_certificates(later(100)).await.expect("reads").len(), 1);

    step(Settled, Distributing, RootSlot::One, NOW).await.expect("begun");
    let again = step(Settled, Distributing, RootSlot::One, NOW).await;
    assert!(matches!(again, Err(StoreError::Conflict(_))), "{again:?}");
    step(Distributing, Issuing, RootSlot::Two, later(200)).await.expect("issues");
    let trust = store.trust_fetch().await.expect("reads");
    assert_eq!((trust.version, trust.stage, trust.issuing), (TrustVersion(2), Issuing, RootSlot::Two));
    step(Issuing, Settled, RootSlot::Two, later(200)).await.expect("settled");
    assert_eq!(store.held_certificates(NOW).await.expect("reads").len(), 1, "what has ended is forgotten");
}
