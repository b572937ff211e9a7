//! What the use cases need from outside: a store, a vault, coordination. Their implementations live
//! in crates of their own and never see each other.

pub mod coordination;
pub mod quota;
pub mod rows;
pub mod store;
pub mod token;
mod transaction;
pub mod vault;
