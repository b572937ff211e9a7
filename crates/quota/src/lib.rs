//! Quota leases: how the workers of a region share its limits without asking for each call, and never exceed them.
//!
//! Pure rules. No I/O, no clock, no randomness of their own: time is a parameter, and messages are plain values that others carry. Start reading with [`allocator::Allocator`], the control plane's side,
//! and [`holder::Holder`], the worker's; [`protocol`] is what they say to each other.
//!
//! # What always holds
//!
//! **In each window, what all workers admit is at most the limit.** The allocator counts what it *granted* and did not get back, and grants out of the rest alone. A grant is stored before it is sent
//! ([`allocator::Step`]). A worker takes calls' units only out of grants, by a compare-and-swap that never goes below zero, and gives back only what it has taken out first. So nothing depends on a report being
//! timely, nor on a message arriving, once, or in order: counts are cumulative. Workers and control planes may die at any point; what they leave behind counts as used.
//!
//! **Windows are the control plane's.** A worker knows the time there within two bounds, and uses a window's units only while it is that window by both (`holder/clock.rs`).
//!
//! **A worker that is cut off uses what it has, and never more.** It begins each further window with its *standing slice*, which the allocator sets aside as long as the lease lives. The worker's
//! count of the lease's life begins when it sent what was last answered, and the allocator's when that arrived; the first is cut by the clocks' drift and the second is stretched by it. So the worker
//! always stops first.
//!
//! # The bounds of the error
//!
//! - Reservations: none. What calls use *beyond* their reservations is charged when they end and owed by the present window: a limit can be passed by the sum of those differences, which is zero where
//!   estimates are upper bounds (requests, parallel calls, and money where the answer's length is bounded).
//! - A minute is a calendar minute: any 60 seconds hold at most twice the amount (see [`window`]).
//! - When another control plane takes over, its clock is the region's from then on. A window is as much longer or shorter as the two clocks differ; its sum stays exact.
//! - What a worker had when it died counts as used: of a minute, until the minute is over; of money, until its usage events are all there; of parallel calls, until its successor says that it is dead, or its
//!   lease's life and the longest call are over. That is at most its slice: [`policy::Policy::horizon`] of its demand, or its even part of an eighth of the limit.
//!
//! # Nobody is refused because of how units are shared
//!
//! Let `A` be the limit, `U` what is used in the window, held by running calls, or in doubt at dead workers, and `R` what calls gave back within the last exchange.
//!
//! **Theorem.** A call at a connected worker that wants at most `(A - U)/2 - R` units is admitted after at most one exchange, however many workers there are and however their demand is spread. At `U ≤ 5 %` that is
//! every call up to 47 % of the limit, less `R`.
//!
//! *Why.* Units are lent ahead of demand in one place (`Ledger::top_up`), and only while what is idle at all workers together stays within half of what is left, `(A - U)/2`. Standing slices together
//! are at most `A/2`, so a window begins so, too. A grant for a call that waits is taken at once, and is use from then on. Idle units grow otherwise only where a call used less than it had reserved, or gave up waiting: that is `R`,
//! and the answer to the report that tells of it asks for what exceeds the half. The allocator's knowledge of use lags, but errs to one side: it takes for idle what is used
//! already, and lends less. So of `A - U` at most half, and `R`, is elsewhere; the pool has the rest, and a worker that asks is served from the pool at once. The number of workers appears nowhere: there is no
//! initial slice for merely being there. ∎
//!
//! **And beyond.** A call that wants more is not refused either, as long as `U` and it fit: what lies idle at workers that can be reached is recalled, one more exchange. Only what is idle at workers that are cut off, or do not
//! answer in [`policy::Policy::recall_patience`], is out of reach. Calls wait at most [`policy::Policy::patience`]; who waits longest is served first. After a refusal a worker takes the limit for used up for
//! [`policy::Policy::ask_again`]; where calls give back a lot (parallel calls, large reservations), a call can be refused in that time although others have just ended.
//!
//! Who was never served before an outage has nothing during it: a worker holds leases only of accounts that it has seen in use, and of limits that are smaller than four times the number of
//! workers some hold nothing.

pub mod allocator;
pub mod holder;
pub mod limit;
pub mod policy;
pub mod protocol;
pub mod window;
