use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::*;

type Candidate = (&'static str, Rank, u64);

fn rank(order: u32, weight: u32) -> Rank {
    Rank::new(order, weight).expect("good")
}

fn ordered(mut all: Vec<Candidate>, below: impl FnMut(u64) -> u64) -> Vec<&'static str> {
    order(&mut all, |one| one.1, |one| one.2, below);
    all.into_iter().map(|one| one.0).collect()
}

#[test]
fn lower_orders_go_first_and_nothing_is_left_to_chance_where_there_is_no_choice() {
    let all = vec![("c", rank(9, 1000), 0), ("a", rank(0, 1), 5), ("b", rank(3, 1), 0)];
    assert_eq!(ordered(all, |_| panic!("nothing to draw")), ["a", "b", "c"]);
}

#[test]
fn weights_are_met() {
    const CALLS: u32 = 100_000;
    let mut random = SmallRng::seed_from_u64(7);
    let (mut firsts, mut seconds) = (std::collections::BTreeMap::new(), std::collections::BTreeMap::new());
    for _ in 0..CALLS {
        let all = vec![("a", rank(0, 1), 0), ("b", rank(0, 3), 0), ("c", rank(0, 6), 0)];
        let drawn = ordered(all, |total| random.random_range(0..total));
        *firsts.entry(drawn[0]).or_insert(0_u32) += 1;
        if drawn[0] == "c" {
            *seconds.entry(drawn[1]).or_insert(0_u32) += 1;
        }
    }
    // Within five standard deviations of a binomial distribution.
    let within = |count: u32, of: u32, share: f64| {
        let (mean, deviation) = (f64::from(of) * share, (f64::from(of) * share * (1.0 - share)).sqrt());
        assert!((f64::from(count) - mean).abs() < 5.0 * deviation, "{count} of {of}, not {share}");
    };
    for (name, share) in [("a", 0.1), ("b", 0.3), ("c", 0.6)] {
        within(firsts[name], CALLS, share);
    }
    within(seconds["b"], firsts["c"], 0.75);
}

#[test]
fn the_cheapest_goes_first_and_equals_are_drawn_by_weight() {
    let all = || vec![("slow", rank(0, 1000), 9), ("one", rank(0, 1), 2), ("two", rank(0, 1), 2)];
    assert_eq!(ordered(all(), |_| 0), ["one", "two", "slow"]);
    let mut last = ordered(all(), |total| total - 1);
    last.pop();
    assert_eq!(last, ["two", "one"]);
}
