//! Backup and restore: of the same state, by the same region, under its own keys, or not at all.

use std::{
    io::{self, Cursor, Read},
    time::Duration,
};

use bailiwick_core::{
    backup::{
        BackupError,
        format::{MAGIC, Part},
        restoring::{Consent, Files, Restore, Restored},
    },
    ports::{
        quota::QuotaStore as _,
        rows::Cells,
        store::{Store, StoreError},
        vault::{Vault, VaultError},
    },
    records::{Chain, Revision},
};
use bailiwick_domain::{
    jurisdiction::Jurisdiction,
    organization::{OrganizationRole, OrganizationStatus},
    time::{Clock as _, Timestamp},
};
use bailiwick_store::SqlStore;

use crate::{
    fixture::{Fixture, NOW, expected, region},
    inhabited::{Inhabited, Resident, fresh, vault},
    samples::{call_of, later, page},
};

const WEEK: Duration = Duration::from_secs(7 * 86_400);
const REPLACE: Consent = Consent { replace: true, later_keys: false, expired_keys: false };

/// A backup in memory.
#[derive(Clone, Default)]
struct Taken {
    data: Vec<u8>,
    keys: Vec<u8>,
}

impl Taken {
    async fn of(region: &Inhabited) -> Self {
        let mut writer = region.control_plane.backup_begin(region.caller(), WEEK).await.expect("begun");
        let mut taken = Self::default();
        while let Some(piece) = writer.next().await.expect("read") {
            taken.part(piece.part).extend(piece.bytes);
        }
        taken
    }

    fn part(&mut self, part: Part) -> &mut Vec<u8> {
        match part {
            Part::Data => &mut self.data,
            Part::Keys => &mut self.keys,
        }
    }
}

impl Files for Taken {
    fn open(&self, part: Part) -> io::Result<Box<dyn Read + Send>> {
        let mut taken = self.clone();
        Ok(Box::new(Cursor::new(std::mem::take(taken.part(part)))))
    }
}

async fn restore(
    region: &Inhabited,
    store: &SqlStore,
    taken: &Taken,
    consent: Consent,
) -> Result<Restored, BackupError> {
    restore_at(&region.control_plane.parts.jurisdiction, "local", region, store, taken, consent).await
}

async fn restore_at(
    home: &Jurisdiction,
    installation: &str,
    region: &Inhabited,
    store: &dyn Store,
    taken: &Taken,
    consent: Consent,
) -> Result<Restored, BackupError> {
    restore_with(region.vault.as_ref(), home, installation, region.clock.now(), store, taken, consent).await
}

async fn restore_with(
    vault: &dyn Vault,
    home: &Jurisdiction,
    installation: &str,
    now: Timestamp,
    store: &dyn Store,
    taken: &Taken,
    consent: Consent,
) -> Result<Restored, BackupError> {
    let clock = bailiwick_domain::time::ManualClock::at(now);
    let restore = Restore { store, vault, clock: &clock, home, installation, actor: "operator/alice" };
    restore.run(taken, consent, &mut |_, _| {}).await
}

/// Every row of a store but those that a restore itself changes.
async fn dump(store: &SqlStore) -> Vec<(String, Vec<Cells>)> {
    let mut rows = store.rows().await.expect("reads");
    let tables = rows.tables().to_vec();
    let mut all = Vec::new();
    for (number, table) in tables.iter().enumerate() {
        let restored = ["cluster_identity", "region_revision", "configuration_changes"];
        let audit = ["audit_chains", "audit_records"];
        if !restored.contains(&table.name.as_str()) && !audit.contains(&table.name.as_str()) {
            all.push((table.name.clone(), rows.page(number, None, 10_000).await.expect("reads")));
        }
    }
    all
}

async fn actions(store: &SqlStore) -> Vec<String> {
    let records = store.audit_list(Chain::Region, &page(1000, None)).await.expect("reads").rows;
    records.into_iter().map(|record| record.action).collect()
}

async fn status(store: &SqlStore, resident: &Resident) -> Option<OrganizationStatus> {
    store.organization_fetch(resident.organization).await.expect("reads").map(|row| row.status)
}

/// Another store of the same region that nobody has been in.
async fn elsewhere() -> (tempfile::TempDir, SqlStore) {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}/region.db", folder.path().display());
    let store = SqlStore::open(&url, &expected("eu-central-1")).await.expect("opens");
    (folder, store)
}

pub(crate) async fn a_backup_is_restored_as_it_was_taken(fixture: &Fixture) {
    let region = Inhabited::new(fixture).await;
    let (one, _) = (region.resident().await, region.resident().await);
    let events: Vec<_> = (0..1200).map(|n| call_of(fixture, one.organization, later(n))).collect();
    fixture.store.usage_insert(&events).await.expect("stored");
    let epoch = fixture.store.cluster_identity().await.expect("reads").epoch;
    let taken = Taken::of(&region).await;
    let (before, revision) = (dump(&fixture.store).await, fixture.store.revision().await.expect("reads"));
    for secret in ["Example", "someone@example.com", "sk-secret"] {
        let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!holds(&taken.data) && !holds(&taken.keys), "{secret}");
    }

    let newcomer = region.resident().await;
    let restored = restore(&region, &fixture.store, &taken, REPLACE).await.expect("restored");
    assert_eq!(dump(&fixture.store).await, before);
    assert_eq!(status(&fixture.store, &newcomer).await, None);
    let after = fixture.store.cluster_identity().await.expect("reads").epoch;
    assert!(after != epoch && after == restored.epoch, "workers take a snapshot");
    assert_eq!(Revision(restored.revision), Revision(revision.0 + 1));
    assert_eq!(actions(&fixture.store).await.last().map(String::as_str), Some("region.restore"));
    assert!(region.inspect().await.hold());

    // The backend that it is restored on may be another one.
    let (_folder, other) = elsewhere().await;
    restore(&region, &other, &taken, Consent::default()).await.expect("restored");
    assert_eq!(dump(&other).await, before);
    other.close().await;
}

/// Else whoever restores a region gives everybody their limits anew.
pub(crate) async fn what_was_spent_of_limits_comes_back(fixture: &Fixture) {
    let region = Inhabited::new(fixture).await;
    let resident = region.resident().await;
    region.limit(&resident).await;
    let spent = crate::quota::spent(&fixture.store, resident.key.into_inner()).await;
    let taken = Taken::of(&region).await;

    let (_folder, other) = elsewhere().await;
    restore(&region, &other, &taken, Consent::default()).await.expect("restored");
    restore(&region, &fixture.store, &taken, REPLACE).await.expect("restored");
    for store in [&other, &fixture.store] {
        let found = store.take_office(1).await.expect("taken");
        assert_eq!(found.stored, spent.stored);
        assert_eq!(found.workers, spent.workers);
        assert!(found.term > spent.term, "whoever was in office before is in none");
    }
    other.close().await;
}

pub(crate) async fn a_region_is_replaced_only_when_that_is_said(fixture: &Fixture) {
    let region = Inhabited::new(fixture).await;
    let one = region.resident().await;
    let taken = Taken::of(&region).await;
    let before = dump(&fixture.store).await;
    let refused = restore(&region, &fixture.store, &taken, Consent::default()).await;
    assert!(matches!(refused, Err(BackupError::Store(StoreError::Conflict(_)))), "{refused:?}");
    assert_eq!(dump(&fixture.store).await, before);
    assert_eq!(status(&fixture.store, &one).await, Some(OrganizationStatus::Active));
}

pub(crate) async fn what_the_replaced_store_ended_stays_ended(fixture: &Fixture) {
    let region = Inhabited::new(fixture).await;
    let (gone, kept) = (region.resident().await, region.resident().await);
    let taken = Taken::of(&region).await;
    region.delete(&gone).await;
    region.control_plane.key_revoke(region.caller(), kept.key).await.expect("revoked");

    let restored = restore(&region, &fixture.store, &taken, REPLACE).await.expect("restored");
    assert_eq!(restored.organizations_deleted, [gone.organization.to_string()]);
    assert_eq!(restored.keys_revoked, 1, "R12: a revocation never rolls back");
    assert_eq!(status(&fixture.store, &gone).await, Some(OrganizationStatus::Deleted));
    let key = fixture.store.key_fetch(kept.key).await.expect("reads").expect("there");
    assert!(key.revoked_at.is_some());
    assert!(fixture.store.destruction_fetch(gone.organization).await.expect("reads").is_some());
}

pub(crate) async fn r12_a_restore_brings_back_no_service_account_that_was_revoked_and_no_secret_that_was_replaced(
    fixture: &Fixture,
) {
    let region = Inhabited::new(fixture).await;
    let resident = region.resident().await;
    let (plane, caller) = (&region.control_plane, region.caller());
    let create = async || {
        let (name, role) = ("program".parse().expect("good"), OrganizationRole::Admin);
        let made = plane.service_account_create(caller, &fresh(), resident.organization, &name, role).await;
        made.expect("made").account.row.id
    };
    let (revoked, replaced, untouched) = (create().await, create().await, create().await);
    let taken = Taken::of(&region).await;
    plane.service_account_revoke(caller, revoked).await.expect("revoked");
    plane.service_account_rotate_secret(caller, &fresh(), replaced).await.expect("replaced");
    let fetch = async |id| fixture.store.service_account_fetch(id).await.expect("reads").expect("there");
    let before = (fetch(revoked).await, fetch(replaced).await, fetch(untouched).await);
    restore(&region, &fixture.store, &taken, REPLACE).await.expect("restored");
    assert_eq!((fetch(revoked).await, fetch(replaced).await, fetch(untouched).await), before);
}

pub(crate) async fn r4_a_deleted_organization_comes_back_from_no_data_with_later_keys(fixture: &Fixture) {
    let region = Inhabited::new(fixture).await;
    let (gone, kept) = (region.resident().await, region.resident().await);
    let old = Taken::of(&region).await;
    region.delete(&gone).await;
    region.clock.advance(Duration::from_secs(60));
    let new = Taken::of(&region).await;

    let mixed = Taken { data: old.data.clone(), keys: new.keys };
    let (_folder, other) = elsewhere().await;
    let consent = Consent { later_keys: true, ..Consent::default() };
    let restored = restore(&region, &other, &mixed, consent).await.expect("restored");
    assert_eq!(restored.organizations_deleted, [gone.organization.to_string()]);
    assert_eq!(status(&other, &gone).await, Some(OrganizationStatus::Deleted));
    assert_eq!(status(&other, &kept).await, Some(OrganizationStatus::Active));
    let again = Inhabited::of(fixture, other.clone()).await;
    let findings = again.inspect().await;
    assert!(
        findings.hold() && findings.sealed_destroyed > 0,
        "what is left of it opens under no key: {findings:?}"
    );
    other.close().await;
}

pub(crate) async fn r4_keys_of_another_backup_or_past_their_end_are_refused(fixture: &Fixture) {
    let region = Inhabited::new(fixture).await;
    region.resident().await;
    let old = Taken::of(&region).await;
    region.clock.advance(Duration::from_secs(60));
    let new = Taken::of(&region).await;
    let before = dump(&fixture.store).await;

    let later = Taken { data: old.data.clone(), keys: new.keys.clone() };
    let refused = restore(&region, &fixture.store, &later, REPLACE).await;
    assert!(matches!(refused, Err(BackupError::Mismatch(_))), "later ones, unsaid: {refused:?}");
    let earlier = Taken { data: new.data.clone(), keys: old.keys };
    let consent = Consent { later_keys: true, ..REPLACE };
    let refused = restore(&region, &fixture.store, &earlier, consent).await;
    assert!(matches!(refused, Err(BackupError::Mismatch(_))), "earlier ones, whatever is said: {refused:?}");
    let swapped = Taken { data: new.keys.clone(), keys: new.data.clone() };
    let refused = restore(&region, &fixture.store, &swapped, REPLACE).await;
    assert!(matches!(refused, Err(BackupError::NotABackup { .. })), "{refused:?}");

    region.clock.advance(WEEK);
    let refused = restore(&region, &fixture.store, &new, REPLACE).await;
    assert!(matches!(refused, Err(BackupError::Expired { .. })), "{refused:?}");
    assert_eq!(dump(&fixture.store).await, before);
    let consent = Consent { expired_keys: true, ..REPLACE };
    restore(&region, &fixture.store, &new, consent).await.expect("forced");
    assert_eq!(
        actions(&fixture.store).await.last().map(String::as_str),
        Some("region.restore_with_expired_keys")
    );
}

pub(crate) async fn r4_a_backup_opens_under_its_own_master_key_alone(fixture: &Fixture) {
    let region = Inhabited::new(fixture).await;
    let taken = Taken::of(&region).await;
    let (before, other) = (dump(&fixture.store).await, vault(0xcd));
    let refused =
        restore_with(other.as_ref(), &fixture.home, "local", NOW, &fixture.store, &taken, REPLACE).await;
    // By its name, so that an operator knows which one is missing.
    assert!(matches!(refused, Err(BackupError::Vault(VaultError::UnknownMasterKey(_)))), "{refused:?}");
    assert_eq!(dump(&fixture.store).await, before);
}

pub(crate) async fn r5_a_backup_of_another_region_or_installation_is_refused_by_name(fixture: &Fixture) {
    let ours = Inhabited::new(fixture).await;
    let taken = Taken::of(&ours).await;
    let before = dump(&fixture.store).await;
    let there = Jurisdiction::of(&region("us-west-1"));
    for (home, installation) in [(&there, "local"), (&fixture.home, "other")] {
        let refused = restore_at(home, installation, &ours, &fixture.store, &taken, REPLACE).await;
        let Err(error @ BackupError::Foreign { .. }) = refused else { panic!("{refused:?}") };
        assert!(error.to_string().starts_with("the data are a backup of eu-central-1.local"), "{error}");
    }
    // A header that claims to be ours is sealed into every chunk.
    let claim = |bytes: &[u8]| {
        let at = bytes.windows(12).position(|window| window == b"eu-central-1").expect("named");
        let mut bytes = bytes.to_vec();
        bytes[at..at + 12].copy_from_slice(b"us-central-1");
        bytes
    };
    let claimed = Taken { data: claim(&taken.data), keys: claim(&taken.keys) };
    let refused = restore(&ours, &fixture.store, &claimed, REPLACE).await;
    assert!(matches!(refused, Err(BackupError::Foreign { .. })), "{refused:?}");
    assert_eq!(dump(&fixture.store).await, before);
}

/// Where a file's chunks begin, and where it ends.
fn chunks(bytes: &[u8]) -> Vec<usize> {
    let length = |at: usize| {
        let bytes: [u8; 4] = bytes[at..at + 4].try_into().expect("four");
        4 + usize::try_from(u32::from_be_bytes(bytes)).expect("small")
    };
    let mut places = vec![MAGIC.len() + length(MAGIC.len())];
    while let Some(at) = places.last().copied().filter(|at| *at < bytes.len()) {
        places.push(at + length(at));
    }
    places
}

pub(crate) async fn r4_a_backup_that_was_tampered_with_is_refused_and_nothing_is_touched(fixture: &Fixture) {
    let region = Inhabited::new(fixture).await;
    let one = region.resident().await;
    let events: Vec<_> = (0..1100).map(|n| call_of(fixture, one.organization, later(n))).collect();
    fixture.store.usage_insert(&events).await.expect("stored");
    let (taken, other) = (Taken::of(&region).await, Taken::of(&region).await);
    let before = dump(&fixture.store).await;
    let places = chunks(&taken.data);
    assert!(places.len() > 12, "enough chunks to play with");
    let cut = |from: usize, to: usize| taken.data[places[from]..places[to]].to_vec();
    let (head, last) = (taken.data[..places[0]].to_vec(), places.len() - 1);
    let theirs = {
        let places = chunks(&other.data);
        other.data[places[3]..places[4]].to_vec()
    };
    let mut tampered: Vec<(String, Vec<u8>)> = vec![
        ("swapped".into(), [head.clone(), cut(0, 3), cut(4, 5), cut(3, 4), cut(5, last)].concat()),
        ("left out".into(), [head.clone(), cut(0, 3), cut(4, last)].concat()),
        ("repeated".into(), [head.clone(), cut(0, 4), cut(3, last)].concat()),
        ("another backup's".into(), [head.clone(), cut(0, 3), theirs, cut(4, last)].concat()),
        ("something behind".into(), [taken.data.clone(), cut(last - 1, last)].concat()),
        ("nothing but a header".into(), head.clone()),
        ("nothing".into(), Vec::new()),
        ("a length out of bounds".into(), [head, vec![0xff; 8]].concat()),
    ];
    for (number, place) in places.iter().enumerate().take(last) {
        tampered.push((format!("cut off before chunk {number}"), taken.data[..*place].to_vec()));
    }
    for at in (0..taken.data.len()).step_by(taken.data.len() / 60) {
        let mut bytes = taken.data.clone();
        bytes[at] ^= 0x10;
        tampered.push((format!("a bit at {at}"), bytes));
        tampered.push((format!("cut off at {at}"), taken.data[..at].to_vec()));
    }
    for (what, data) in tampered {
        let taken = Taken { data, keys: taken.keys.clone() };
        let refused = restore(&region, &fixture.store, &taken, REPLACE).await;
        assert!(refused.is_err(), "{what}: {refused:?}");
    }
    let mut keys = taken.keys.clone();
    let middle = keys.len() - 40;
    keys[middle] ^= 1;
    let refused = restore(&region, &fixture.store, &Taken { data: taken.data.clone(), keys }, REPLACE).await;
    assert!(matches!(refused, Err(BackupError::Damaged { part: Part::Keys, .. })), "{refused:?}");
    assert_eq!(dump(&fixture.store).await, before);
    restore(&region, &fixture.store, &taken, REPLACE).await.expect("untouched, it is good");
}

pub(crate) async fn r11_a_backup_under_writes_is_of_one_state(fixture: &Fixture) {
    let region = Inhabited::new(fixture).await;
    let one = region.resident().await;
    let events: Vec<_> = (0..1100).map(|n| call_of(fixture, one.organization, later(n))).collect();
    fixture.store.usage_insert(&events).await.expect("stored");
    let mut writer = region.control_plane.backup_begin(region.caller(), WEEK).await.expect("begun");
    let revision = fixture.store.revision().await.expect("reads");
    let mut taken = Taken::default();
    let mut number = 10_000;
    let mut newcomers = Vec::new();
    while let Some(piece) = writer.next().await.expect("read") {
        taken.part(piece.part).extend(piece.bytes);
        if newcomers.len() < 5 {
            newcomers.push(region.resident().await);
        }
        number += 1;
        let event = call_of(fixture, one.organization, later(number));
        fixture.store.usage_insert(&[event]).await.expect("stored");
    }
    assert_eq!(writer.revision(), revision.0);
    // What is restored is inspected before it counts: chains, revisions, references and roll-ups of two states would not agree.
    let (_folder, other) = elsewhere().await;
    let restored = restore(&region, &other, &taken, Consent::default()).await.expect("restored");
    assert_eq!(restored.revision, revision.0 + 1);
    for newcomer in &newcomers {
        assert_eq!(status(&other, newcomer).await, None);
    }
    assert!(region.inspect().await.hold(), "and the store that went on holds too");
    other.close().await;
}
