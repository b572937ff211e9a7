//! A region's store.

use bailiwick_quota::allocator::{Row, Stored};

/// The region's store: refuses what an allocator writes whose term is over.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) term: u64,
    pub(crate) rows: Stored,
}

impl Store {
    /// Begins a term.
    pub(crate) fn next_term(&mut self) -> u64 {
        self.term += 1;
        self.term
    }

    /// One transaction; whether it ended well.
    pub(crate) fn write(&mut self, term: u64, rows: &[Row]) -> bool {
        let in_office = rows.is_empty() || term == self.term;
        if in_office {
            self.rows.apply(rows);
        }
        in_office
    }
}
