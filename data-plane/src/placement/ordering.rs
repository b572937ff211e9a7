//! In which order places are tried.

use bailiwick_domain::routing::Rank;

/// Sorts by order; within one by `cost`, lowest first; among equals by chance, in proportion to the weights. `below(n)` is a random number from 0 to below `n`; it is not asked
/// where there is nothing to choose.
pub(super) fn order<T>(
    all: &mut [T],
    rank: impl Fn(&T) -> Rank,
    cost: impl Fn(&T) -> u64,
    mut below: impl FnMut(u64) -> u64,
) {
    all.sort_by_key(|one| rank(one).order());
    for equals in all.chunk_by_mut(|one, other| rank(one).order() == rank(other).order()) {
        shuffle(equals, &rank, &mut below);
        equals.sort_by_key(&cost);
    }
}

/// Draws one after the other, without putting back.
fn shuffle<T>(all: &mut [T], rank: &impl Fn(&T) -> Rank, below: &mut impl FnMut(u64) -> u64) {
    let weight = |one: &T| u64::from(rank(one).weight());
    let mut left = all;
    while left.len() > 1 {
        let mut drawn = below(left.iter().map(weight).sum());
        let mut place = 0;
        for one in &*left {
            match drawn.checked_sub(weight(one)) {
                Some(rest) => drawn = rest,
                None => break,
            }
            place += 1;
        }
        if let Some(until) = left.get_mut(..=place) {
            until.rotate_right(1);
        }
        left = left.get_mut(1..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests;
