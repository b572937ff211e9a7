//! The SQL store of one region: the same statements on SQLite, the embedded default, and on PostgreSQL.
//!
//! It implements the ports of `bailiwick_core::ports::store` and nothing else. It never opens what is sealed, never retries,
//! and never writes a row of another region: each table's constraints name the region, statements take only
//! `Local` identifiers, and a row that is read back is admitted anew or is `StoreError::Corrupt`.
//!
//! Start at [`SqlStore::open`]; then `transaction.rs`, where every mutation ends; then the file of an aggregate. To add an
//! aggregate: a table in a new file of `migrations/`, a file here with its statements, and a line per function in `store.rs`
//! or `transaction.rs`. What only one backend has stands in `backend.rs`, or in a migration whose name says so.

mod backend;
mod bulk;
mod error;
mod migrate;
mod page;
mod replacement;
mod rotation;
mod row;
mod rows;
mod session;
mod store;
mod transaction;
mod trust;

mod audit;
mod backup;
mod configuration;
mod contract_price;
mod credential;
mod data_key;
mod deployment;
mod destruction;
mod idempotency;
mod identity;
mod join_token;
mod key;
mod limit;
mod model;
mod organization;
mod quota;
mod service_account;
mod token_key;
mod usage;
mod worker;

pub use identity::ExpectedIdentity;
pub use store::SqlStore;
