//! Values made where they stay: on the heap, without a copy on the stack first.
//!
//! `Box::new(value)` makes the value before it asks for room, and then copies all of it: of a future also the room for what it will hold, which is nearly all there is. Asked for first,
//! the room is written to field by field. The compiler is free to copy nevertheless; what it does is seen in the instructions a call that the tests count.

use std::pin::Pin;

/// The value that `make` makes, in a place of its own.
#[inline(always)]
pub fn boxed<T>(make: impl FnOnce() -> T) -> Box<T> {
    let room = Box::new_uninit();
    Box::write(room, make())
}

/// The same, for what must not move: mostly a future.
#[inline(always)]
pub fn pinned<T>(make: impl FnOnce() -> T) -> Pin<Box<T>> {
    Box::into_pin(boxed(make))
}
