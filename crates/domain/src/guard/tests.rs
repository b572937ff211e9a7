use std::collections::BTreeSet;

use super::*;

#[test]
fn every_guard_stands_and_has_a_name_of_its_own() {
    let names: BTreeSet<&str> = Guard::ALL.iter().map(|guard| guard.name()).collect();
    assert_eq!(names.len(), Guard::ALL.len());
    for guard in Guard::ALL {
        assert!(guard.stands(), "{guard}");
        assert_eq!(guard.name().parse(), Ok(*guard));
    }
    assert_eq!(Guard::removed().count(), 0);
    assert_eq!("everything".parse::<Guard>(), Err(NoSuchGuard));
}
