use bailiwick_core::ports::vault::SealContext;
use bailiwick_domain::{id::Organization, jurisdiction::Jurisdiction, region::Regions, time::Timestamp};

use super::*;

const PLACE: SealContext<'_> = SealContext { table: "t", column: "c", row: "r" };

fn local(digits: &str) -> MasterKeySource {
    let master = MasterKey::parse(&secrecy::SecretString::from(digits.repeat(32))).expect("64 digits");
    MasterKeySource::Local(master)
}

async fn hierarchy(region: &str, current: &str, previous: &[&str]) -> KeyHierarchy {
    let previous = previous.iter().map(|digits| local(digits)).collect();
    KeyHierarchy::new(region.parse().expect("good"), local(current), previous).await.expect("made")
}

fn organization(entropy: u128) -> KeyScope {
    let eu = Jurisdiction::of(Regions::builtin().by_name_str("eu-central-1").expect("built in"));
    KeyScope::Organization(eu.mint::<Organization>(Timestamp::default(), entropy))
}

#[tokio::test]
async fn r4_a_wrapped_key_moved_to_another_scope_version_region_or_master_does_not_unwrap() {
    let ours = hierarchy("euc1", "ab", &["ef"]).await;
    let key = ours.create_data_key(organization(1), 1).await.expect("made");
    assert!(ours.unlock(&key).await.is_ok());
    let previous = hierarchy("euc1", "ef", &[]).await.master_key().to_owned();
    for moved in [
        WrappedDataKey { scope: organization(2), ..key.clone() },
        WrappedDataKey { scope: KeyScope::Region, ..key.clone() },
        WrappedDataKey { version: 2, ..key.clone() },
        WrappedDataKey { master: previous, ..key.clone() },
    ] {
        assert!(ours.unlock(&moved).await.is_err(), "{moved:?}");
        assert!(ours.rewrap(&moved).await.is_err(), "{moved:?}");
    }
    assert!(hierarchy("usw1", "ab", &[]).await.unlock(&key).await.is_err());
    let other = hierarchy("euc1", "cd", &[]).await.unlock(&key).await;
    assert!(matches!(other.err(), Some(VaultError::UnknownMasterKey(name)) if name == key.master));
}

#[tokio::test]
async fn a_rewrapped_key_opens_what_it_sealed_under_the_new_master_alone() {
    let old = hierarchy("euc1", "ab", &[]).await;
    let key = old.create_data_key(organization(1), 1).await.expect("made");
    let sealed = old.unlock(&key).await.expect("unlocked").seal(PLACE, b"value").expect("sealed");

    let both = hierarchy("euc1", "cd", &["ab"]).await;
    let rewrapped = both.rewrap(&key).await.expect("rewrapped");
    assert_eq!(rewrapped.master, both.master_key());
    assert_ne!(rewrapped.master, key.master);

    let new = hierarchy("euc1", "cd", &[]).await;
    assert!(!new.knows_master_key(&key.master));
    let unlocked = new.unlock(&rewrapped).await.expect("unlocked");
    assert_eq!(&**unlocked.open(PLACE, &sealed).expect("opens"), b"value");
    assert!(old.unlock(&rewrapped).await.is_err());
}

#[tokio::test]
async fn a_master_key_given_twice_is_refused() {
    let twice = KeyHierarchy::new("euc1".parse().expect("good"), local("ab"), vec![local("ab")]).await;
    assert!(matches!(twice.err(), Some(VaultError::MasterKey(problem)) if problem.contains("twice")));
}

#[tokio::test]
async fn the_name_of_a_master_key_tells_keys_apart_and_nothing_of_them() {
    let (one, other) = (hierarchy("euc1", "ab", &[]).await, hierarchy("euc1", "cd", &[]).await);
    assert_ne!(one.master_key(), other.master_key());
    assert_eq!(one.master_key(), hierarchy("usw1", "ab", &[]).await.master_key());
    assert!(!one.master_key().contains("abab"), "{}", one.master_key());
}

#[tokio::test]
async fn a_forgotten_key_is_gone_from_memory_and_comes_back_only_from_its_wrapping() {
    let ours = hierarchy("euc1", "ab", &[]).await;
    let key = ours.create_data_key(KeyScope::Region, 1).await.expect("made");
    let sealed = ours.unlock(&key).await.expect("unlocked").seal(PLACE, b"value").expect("sealed");
    ours.forget(KeyScope::Region);
    assert!(ours.unlocked.lock().expect("lock").is_empty());
    assert_eq!(&**ours.unlock(&key).await.expect("unlocked").open(PLACE, &sealed).expect("opens"), b"value");
}
