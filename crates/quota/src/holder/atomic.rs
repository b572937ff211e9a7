//! The atomics of [`super::slice`]: a model checker puts its own in their place.

pub(super) use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
