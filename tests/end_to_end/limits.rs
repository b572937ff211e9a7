//! Limits, as administrators set them and callers meet them.

mod worker;
