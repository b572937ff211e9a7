//! Which worker is at the other end of which stream, and whose every name is.

use std::collections::BTreeMap;

use bailiwick_proto::{convert::quota::to_holder_to_wire, status::Refusal};
use bailiwick_quota::protocol::{FromHolder, Hello, HolderId, ToHolder};

use super::{Answers, StreamId};

/// A worker's stream.
#[derive(Debug)]
struct Stream {
    worker: String,
    answers: Answers,
}

/// The streams that stand, one for each worker.
#[derive(Debug, Default)]
pub(super) struct Streams {
    streams: BTreeMap<StreamId, Stream>,
    /// Over which stream a holder spoke last.
    reach: BTreeMap<HolderId, StreamId>,
}

/// Whose a name is: given to one worker, by its certificate, and never to be spoken in by another.
pub(super) type Owners = BTreeMap<HolderId, String>;

/// What becomes of something that a worker says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    /// It is for the allocator.
    Hear(FromHolder),
    /// It was said in a name that is not this worker's.
    Unknown(HolderId),
    /// Its stream has ended meanwhile.
    Nobody,
}

impl Streams {
    /// Takes a stream up, and ends the worker's earlier one; gives the holders that cannot be reached any more.
    pub(super) fn open(&mut self, stream: StreamId, worker: String, answers: Answers) -> Vec<HolderId> {
        let earlier: Vec<StreamId> =
            self.streams.iter().filter(|(_, known)| known.worker == worker).map(|(id, _)| *id).collect();
        let lost = earlier.into_iter().flat_map(|earlier| self.close(earlier)).collect();
        self.streams.insert(stream, Stream { worker, answers });
        lost
    }

    /// Ends a stream; gives the holders that cannot be reached any more.
    pub(super) fn close(&mut self, stream: StreamId) -> Vec<HolderId> {
        self.streams.remove(&stream);
        let lost: Vec<HolderId> =
            self.reach.iter().filter(|(_, over)| **over == stream).map(|(holder, _)| *holder).collect();
        self.reach.retain(|_, over| *over != stream);
        lost
    }

    /// Ends all of them, and says why.
    pub(super) fn refuse_all(&mut self, why: impl Fn() -> Refusal) {
        for stream in std::mem::take(&mut self.streams).into_values() {
            let _ = stream.answers.try_send(Err(why().into()));
        }
        self.reach.clear();
    }

    /// The worker at the other end of a stream.
    pub(super) fn worker(&self, stream: StreamId) -> Option<&str> {
        self.streams.get(&stream).map(|stream| stream.worker.as_str())
    }

    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Lets through what a worker says in its own names, and notes how these can be reached. Names of others that it claims to be over are left out of a hello.
    pub(super) fn admit(&mut self, stream: StreamId, message: FromHolder, owners: &Owners) -> Admitted {
        let Some(worker) = self.worker(stream) else { return Admitted::Nobody };
        let owned = |holder: &HolderId| owners.get(holder).is_some_and(|owner| owner == worker);
        match message {
            FromHolder::Hello(Hello { nonce, mut supersedes }) => {
                supersedes.retain(owned);
                Admitted::Hear(FromHolder::Hello(Hello { nonce, supersedes }))
            }
            FromHolder::Exchange(exchange) if !owned(&exchange.holder) => Admitted::Unknown(exchange.holder),
            FromHolder::Settlement(settlement) if !owned(&settlement.holder) => {
                Admitted::Unknown(settlement.holder)
            }
            FromHolder::Settlement(settlement) => Admitted::Hear(FromHolder::Settlement(settlement)),
            FromHolder::Exchange(exchange) => {
                self.reach.insert(exchange.holder, stream);
                Admitted::Hear(FromHolder::Exchange(exchange))
            }
        }
    }

    /// Sends a message to the holder that it is for; what answers a hello goes back over the stream that it came from. Err: the worker behind this stream does not read, and it is to be closed.
    pub(super) fn send(&mut self, message: &ToHolder, asked: Option<StreamId>) -> Result<(), StreamId> {
        let to = match message {
            ToHolder::Welcome { holder, .. } => {
                if let Some(stream) = asked {
                    self.reach.insert(*holder, stream);
                }
                asked
            }
            ToHolder::Unknown { .. } | ToHolder::Settled { .. } => asked,
            ToHolder::Leases(leases) => self.reach.get(&leases.holder).copied(),
        };
        let Some((id, stream)) = to.and_then(|id| Some((id, self.streams.get(&id)?))) else { return Ok(()) };
        for part in to_holder_to_wire(message) {
            stream.answers.try_send(Ok(part)).map_err(|_| id)?;
        }
        Ok(())
    }
}
