use std::collections::BTreeSet;

#[test]
fn attacks_are_listed_once_and_by_number() {
    let numbers: Vec<u8> = super::all().iter().map(|attack| attack.number()).collect();
    let distinct: BTreeSet<u8> = numbers.iter().copied().collect();
    assert_eq!(numbers, distinct.into_iter().collect::<Vec<_>>());
}
