//! What each call cost: recorded on this machine's disk before it is known anywhere else (R10).
//!
//! ```text
//! call starts → on disk → provider → call ends → on disk → last bytes to the caller
//!                                    Reporter: reads the files → UsageService → acknowledged → file deleted
//! ```
//!
//! The disk is the queue: what waits for the control plane takes no memory. A crash leaves calls that started and did not end; the
//! next start sends what stands there of them, which is the event that is true when nothing better follows. Calls that start or end at once are written as one record ([`group`]). Whatever is sent twice has the same event id, and the
//! store keeps one of each.
//!
//! Start reading at [`Meter`] (what a request does), then [`writer`], [`group`] and [`record`] (what is written), [`tail`] (what is read back) and
//! [`report`] (how it is sent).
//!
//! Never here: what was said (R8; a usage event has no field for it), a call that is served and not recorded.

mod account;
mod call;
mod charged;
mod group;
mod journals;
mod meter;
mod published;
mod record;
mod recorded;
mod report;
mod segment;
mod tail;
mod used;
mod writer;

pub(crate) use self::{
    account::Account,
    call::{OpenCall, Outcome},
    charged::Charged,
    journals::{FolderLock, Journals, Lives, say_standing},
    meter::{Meter, Settled, StartedCall},
    recorded::{Carried, Recorded},
    report::Reporter,
    used::Used,
    writer::Writer,
};

#[cfg(test)]
pub(crate) mod settled;
#[cfg(test)]
pub(crate) mod tests;
