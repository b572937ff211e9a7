use std::collections::HashMap;

use bailiwick_domain::{
    jurisdiction::Jurisdiction,
    region::{RegionCode, Regions},
};
use proptest::prelude::*;

use super::*;

fn region() -> Jurisdiction {
    Jurisdiction::of(Regions::builtin().by_name_str("eu-central-1").unwrap())
}

fn key_id(region: RegionCode, number: u8) -> KeyId {
    format!("key_{region}_{number:016}").parse().unwrap()
}

fn row(number: u8, content: u8) -> KeyRow {
    KeyRow {
        id: key_id(region().code(), number),
        shard: number % 4,
        organization: region().mint(Timestamp::from_micros(0), content.into()).into_inner(),
        digest: KeyDigest([content; 32]),
        received: [content; 16],
        restrictions: None,
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u8, u8),
    Remove(u8),
    /// Goes on with a clone; the original is kept and must not change.
    Fork,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (any::<u8>(), any::<u8>()).prop_map(|(number, content)| Step::Insert(number, content)),
        3 => any::<u8>().prop_map(Step::Remove),
        1 => Just(Step::Fork),
    ];
    prop::collection::vec(step, 0..400)
}

fn content(table: &KeyTable) -> HashMap<u8, u8> {
    let code = region().code();
    (0..=u8::MAX).filter_map(|number| Some((number, table.row(&key_id(code, number))?.digest.0[0]))).collect()
}

proptest! {
    #[test]
    fn the_table_is_a_map_and_clones_do_not_see_each_other(steps in steps()) {
        let code = region().code();
        let (mut table, mut model) = (KeyTable::default(), HashMap::new());
        let mut forks = Vec::new();
        for step in steps {
            match step {
                Step::Insert(number, with) => {
                    table.insert(row(number, with));
                    model.insert(number, with);
                }
                Step::Remove(number) => {
                    table.remove(&key_id(code, number));
                    model.remove(&number);
                }
                Step::Fork => forks.push((table.clone(), model.clone())),
            }
            prop_assert_eq!(table.len(), model.len());
        }
        forks.push((table, model));
        for (table, model) in forks {
            prop_assert_eq!(content(&table), model.clone());
            let in_shard = model.keys().filter(|number| *number % 4 == 1).count();
            prop_assert_eq!(table.ids_in(1).count(), in_shard);
        }
    }
}

#[test]
fn a_row_stays_small() {
    assert!(size_of::<KeyRow>() <= 112, "{}", size_of::<KeyRow>());
}
