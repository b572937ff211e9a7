//! The counter that cores share, under every interleaving: a model checker runs the same source with its own atomics.

#[path = "../src/holder/slice.rs"]
#[expect(dead_code, reason = "the model uses the part that cores race for")]
mod slice;

/// What `slice.rs` finds in place of the standard library's.
mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicI64, AtomicU64, Ordering};
}

use loom::{sync::Arc, thread};
use slice::Slice;

/// Preemptions that are tried: enough for every bug of two steps, and bounded.
fn check(run: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(run);
}

#[test]
fn no_unit_is_taken_twice_nor_given_back_after_it_was_taken() {
    check(|| {
        let slice = Arc::new(Slice::new(3));
        let call = |units| {
            let slice = Arc::clone(&slice);
            thread::spawn(move || if slice.take(units) { units } else { 0 })
        };
        let (first, second) = (call(2), call(2));
        slice.give_back(1);
        let taken = first.join().expect("no panic") + second.join().expect("no panic");
        assert!(taken + slice.returned() <= 3);
        assert_eq!(slice.available() + slice.held() + slice.consumed() + slice.returned(), 3);
    });
}

#[test]
fn what_calls_leave_over_is_there_for_others_once() {
    check(|| {
        let slice = Arc::new(Slice::new(2));
        let other = Arc::clone(&slice);
        let call = thread::spawn(move || {
            if other.take(2) {
                other.settle(2, 1);
            }
        });
        let taken = slice.take(1);
        slice.add(1);
        call.join().expect("no panic");
        assert_eq!(slice.held(), u64::from(taken));
        assert_eq!(slice.available() + slice.held() + slice.consumed() + slice.returned(), 3);
    });
}

#[test]
fn a_report_never_tells_of_less_than_was_used() {
    check(|| {
        let slice = Arc::new(Slice::new(2));
        assert!(slice.take(2));
        let other = Arc::clone(&slice);
        let end = thread::spawn(move || other.settle(2, 2));
        // In the order in which a report reads them.
        let (held, consumed) = (slice.held(), slice.consumed());
        assert!(held + consumed >= 2, "{held} held, {consumed} used");
        end.join().expect("no panic");
    });
}
