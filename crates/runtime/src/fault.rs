//! Faults on demand, to prove what holds when a step fails as nobody foresaw. In debug builds alone: a release has no trace of them.
//!
//! `BAILIWICK_FAULT=<step>:<mark>,…` makes a step panic when what it holds contains the mark, with all that it holds in the panic's message, as careless code
//! would: neither the caller nor the log may see any of it (invariant R8).

/// The variable that asks for faults.
#[cfg(debug_assertions)]
const VARIABLE: &str = "BAILIWICK_FAULT";

/// A step, and what it has in its hands.
#[cfg(debug_assertions)]
#[expect(clippy::panic, reason = "it is what the fault is")]
pub fn step(name: &str, held: &[u8]) {
    use std::sync::OnceLock;

    static ASKED: OnceLock<Vec<(String, String)>> = OnceLock::new();
    let asked = ASKED.get_or_init(|| {
        let text = crate::configuration::variable(VARIABLE).unwrap_or_default();
        let each = text.split(',').filter_map(|fault| fault.split_once(':'));
        each.map(|(step, mark)| (step.to_owned(), mark.to_owned())).collect()
    });
    let provokes = |mark: &str| held.windows(mark.len().max(1)).any(|window| window == mark.as_bytes());
    if asked.iter().any(|(step, mark)| step == name && provokes(mark)) {
        panic!("{name} failed with {:?}", String::from_utf8_lossy(held));
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn step(_name: &str, _held: &[u8]) {}
