//! What calls may use: the region's limits, as far as this worker was lent a part of them (`crates/quota`).
//!
//! ```text
//! Limiter (a core's): finds a call's cells → estimates → takes units, or waits for an answer
//!      │ reserves, settles                          │ wakes
//!      ▼                                            ▼
//! Lent (all cores'): the holder of leases  ◀── Exchanger: demand up, leases down ──▶ control plane
//! ```
//!
//! A call takes what it may use before it is recorded and made, and settles with what its usage event says, on every way out. Nothing on its path asks the control plane (R9): where
//! units are missing it waits a moment for the exchange, and is refused when none come.
//!
//! Start reading at [`Limiter::reserve`], then [`estimate`] (how much is taken) and [`exchange`] (where units come from).
//!
//! Never here: a call that goes on without its units because nobody answered.

mod cells;
mod estimate;
mod exchange;
mod lent;
mod limiter;
mod names;
mod refusal;
mod told;

pub(crate) use self::{
    cells::LimitedCall,
    estimate::Estimate,
    exchange::Exchanger,
    lent::Lent,
    limiter::{Limited, Limiter, Reserved},
    names::Names,
    told::Told,
};
#[cfg(test)]
pub(crate) mod tests;
