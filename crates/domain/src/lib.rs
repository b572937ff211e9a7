//! The words of Bailiwick: regions, identifiers, keys, money, usage. Pure types and rules; no I/O but the clock.
//!
//! What must hold by construction starts here: an identifier names its region ([`id`], [`key`]), and a foreign one cannot become
//! a [`jurisdiction::Local`]. A [`usage::UsageEvent`] has no field that could carry what was said.

pub mod address;
pub mod catalogue;
pub mod egress;
pub mod guard;
pub mod id;
pub mod jurisdiction;
pub mod key;
pub mod law;
pub mod money;
pub mod names;
pub mod organization;
pub mod packed;
pub mod permission;
pub mod price;
pub mod provider;
pub mod provider_secret;
pub mod region;
pub mod routing;
pub mod spiffe;
pub mod time;
pub mod usage;

mod base62;
mod text;
