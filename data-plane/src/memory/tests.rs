use proptest::prelude::*;

use super::*;

#[test]
fn what_does_not_fit_is_refused_and_fits_again_when_room_was_made() {
    let budget = Budget::new(1000, 1);
    let share = budget.share();
    let (mut one, mut other) = (share.hold(), share.hold());
    one.grow_to(600).unwrap();
    assert_eq!(other.grow_to(500), Err(Overloaded));
    assert_eq!(other.grow_to(400), Ok(()), "what was refused holds nothing");
    assert!(!one.try_grow_to(601));
    assert_eq!(budget.refused(), 1, "who can do without is not counted");
    drop(one);
    assert_eq!(other.grow_to(1000), Ok(()));
    assert_eq!(other.grow_to(10), Ok(()), "it holds that already");
}

#[test]
fn an_idle_core_keeps_no_more_than_a_slice_from_the_others() {
    let budget = Budget::new(1 << 30, 4);
    let (one, other) = (budget.share(), budget.share());
    let mut hold = one.hold();
    hold.grow_to(1 << 29).unwrap();
    drop(hold);
    assert_eq!(budget.held_bytes(), LARGEST_SLICE as u64);
    let mut hold = other.hold();
    hold.grow_to((1 << 30) - LARGEST_SLICE).unwrap();
    drop((hold, other, one));
    assert_eq!(budget.held_bytes(), 0, "a core that ends gives everything back");
}

#[test]
fn what_waits_for_its_caller_is_held_until_the_last_copy_is_gone() {
    let budget = Budget::new(1000, 1);
    let share = budget.share();
    let mut hold = share.hold();
    hold.grow_to(900).unwrap();
    let bytes = hold.with(Bytes::from_static(b"an answer"));
    let rest = bytes.slice(3..);
    drop((bytes, share));
    assert_eq!((budget.held_bytes(), &rest[..]), (900, &b"answer"[..]));
    drop(rest);
    assert_eq!(budget.held_bytes(), 0);
}

proptest! {
    #[test]
    fn never_more_than_the_bound_and_nothing_is_lost(
        steps in proptest::collection::vec((0_usize..3, 0_usize..12, 0_usize..4000), 1..200),
        max in 100_usize..20_000,
    ) {
        let budget = Budget::new(max, 3);
        let shares: Vec<Share> = (0..3).map(|_| budget.share()).collect();
        let mut holds: Vec<Option<Hold>> = (0..36).map(|_| None).collect();
        for (core, call, bytes) in steps {
            let place = &mut holds[core * 12 + call];
            if bytes % 5 == 0 {
                *place = None;
            } else {
                let _refused = place.get_or_insert_with(|| shares[core].hold()).grow_to(bytes);
            }
            let held: usize = holds.iter().flatten().map(|hold| hold.bytes).sum();
            prop_assert!(held <= max && held as u64 <= budget.held_bytes());
            prop_assert!(budget.held_bytes() <= max as u64);
        }
        holds.clear();
        drop(shares);
        prop_assert_eq!(budget.held_bytes(), 0);
    }
}
