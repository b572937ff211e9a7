use bailiwick_domain::{jurisdiction::Jurisdiction, region::Regions};

use super::*;

fn arrival(boot_id: &str) -> Arrival {
    let region = Jurisdiction::of(Regions::builtin().by_name_str("eu-central-1").expect("built in"));
    Arrival {
        id: region.mint(Timestamp::default(), 1),
        role: ProcessRole::Worker,
        name: "worker-1".to_owned(),
        build: "0".to_owned(),
        address: "127.0.0.1:1".to_owned(),
        boot_id: boot_id.to_owned(),
        certificate: [0; 32],
    }
}

const NOW: Timestamp = Timestamp::from_micros(1);

#[test]
fn a_worker_is_routed_to_from_its_first_acknowledgement_to_its_drain() {
    let fleet = Arc::new(Fleet::default());
    let member = fleet.arrive(arrival("a"), NOW);
    assert!(fleet.ready_workers().is_empty());
    member.acknowledged(Revision(3), NOW);
    assert_eq!(fleet.ready_workers().len(), 1);
    member.draining();
    assert!(fleet.ready_workers().is_empty());
    member.acknowledged(Revision(4), NOW);
    assert!(fleet.ready_workers().is_empty(), "a late acknowledgement brings nobody back");
    let id = member.id();
    drop(member);
    assert_eq!(fleet.live(id), None);
}

#[test]
fn an_old_connection_does_not_speak_for_a_new_one() {
    let fleet = Arc::new(Fleet::default());
    let old = fleet.arrive(arrival("a"), NOW);
    let new = fleet.arrive(arrival("b"), NOW);
    new.acknowledged(Revision(2), NOW);
    old.draining();
    drop(old);
    assert_eq!(fleet.ready_workers().iter().map(|live| live.boot_id.as_str()).collect::<Vec<_>>(), ["b"]);
}

#[tokio::test]
async fn a_removed_worker_hears_of_it() {
    let fleet = Arc::new(Fleet::default());
    let mut member = fleet.arrive(arrival("a"), NOW);
    fleet.remove(member.id());
    member.removed().await;
}

#[test]
fn r12_what_a_worker_was_lent_is_known_when_it_has_gone() {
    const LEASE: Duration = Duration::from_secs(3600);
    let started = NOW.saturating_add(Duration::from_secs(60));
    let fleet = Arc::new(Fleet::starting(started, LEASE));
    let id = arrival("a").id;
    assert_eq!(
        fleet.lease_end(id),
        Some(started.saturating_add(LEASE)),
        "an earlier process may have lent it"
    );

    let member = fleet.arrive(arrival("a"), started);
    let later = started.saturating_add(Duration::from_secs(600));
    member.leased(later.saturating_add(LEASE), later);
    drop(member);
    assert_eq!(fleet.lease_end(id), Some(later.saturating_add(LEASE)));
    // Back, and not lent anything yet.
    let member = fleet.arrive(arrival("b"), later);
    assert_eq!(fleet.lease_end(id), Some(later.saturating_add(LEASE)));
    fleet.remove(id);
    drop(member);
    assert!(fleet.gone.read().expect("lock").is_empty(), "who was shut out is not remembered");
}
