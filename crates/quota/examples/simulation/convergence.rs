//! How long it takes until calls do not wait any more, after demand has moved.

use std::collections::BTreeMap;

use crate::world::SHIFT_EVERY;

const TENTH: u64 = 100_000;

/// Calls that had to wait, and all calls, by tenths of a second in which they came. Times are in microseconds.
#[derive(Default)]
pub(crate) struct Convergence(BTreeMap<u64, (u64, u64)>);

impl Convergence {
    pub(crate) fn came(&mut self, at: u64) {
        self.0.entry(at / TENTH).or_default().1 += 1;
    }

    pub(crate) fn waited(&mut self, at: u64) {
        self.0.entry(at / TENTH).or_default().0 += 1;
    }

    /// The longest time after a shift between `begins` and `ends`. A second with fewer than 1 waiting call in 20 ends it; `None`: one did not end before the next shift.
    pub(crate) fn slowest(&self, begins: u64, ends: u64) -> Option<u64> {
        let last = ends / TENTH;
        let mut worst = Some(0);
        for shift in (begins..ends).step_by(SHIFT_EVERY as usize) {
            let from = shift / TENTH;
            let until = (from + SHIFT_EVERY / TENTH - 10).min(last - 10);
            let after = (from..=until).find(|tenth| self.is_calm(*tenth)).map(|tenth| (tenth - from) * TENTH);
            worst = worst.zip(after).map(|(worst, after)| u64::max(worst, after));
        }
        worst
    }

    /// The second from this tenth on.
    fn is_calm(&self, from: u64) -> bool {
        let tenths = self.0.range(from..from + 10);
        let (waited, came) =
            tenths.fold((0, 0), |(waited, came), (_, tenth)| (waited + tenth.0, came + tenth.1));
        waited * 20 <= came
    }
}
