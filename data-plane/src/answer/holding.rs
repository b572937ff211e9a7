//! Reads an answer until it is whole, or proves too large to hold. What came of it counts also when its caller leaves meanwhile.

use std::{pin::pin, time::Duration};

use bailiwick_runtime::{http1::IncomingResponse, turn};
use bytes::{Bytes, BytesMut};
use http::Version;
use http_body::Body as _;
use http_body_util::BodyExt as _;

use crate::{
    dialects::{self, tail::UsageFinder},
    estimate::Passed,
    memory::{Hold, UNCOUNTED},
    metering::{OpenCall, Used},
    timing::{Timing, within},
    upstream::{Answer, AnswerBody, Answered},
};

/// What was read of a body.
pub(crate) enum Held {
    Whole(Bytes),
    /// It is larger than what is held, or than there is room for; this is its beginning.
    Large(Bytes),
    Broken,
    Late,
}

/// Reads the answer of a call. Where nobody waits for it any longer, or it does not come on, the call used what had come. `is_own`: usage stands in it as the caller's dialect tells it.
pub(super) async fn hold_answer(
    answered: &mut Answered<'_>,
    is_own: bool,
    limit: usize,
    idle: Duration,
    held: &mut Hold,
    timing: &Timing,
) -> Held {
    let Answered { answer, call, .. } = answered;
    let Answer { response, begun, .. } = &mut **answer;
    let counts = response.status().is_success();
    let hearing = Hearing { call, collected: Collected::begin(std::mem::take(begun)), counts, is_own };
    hearing.hear(response, limit, idle, held, timing).await
}

/// Reads an answer's body, of which `begun` was read before.
pub(crate) async fn hold(
    response: &mut IncomingResponse<AnswerBody>,
    begun: Bytes,
    limit: usize,
    idle: Duration,
    held: &mut Hold,
) -> Held {
    let mut collected = Collected::begin(begun);
    let how = collected.read(response, limit, idle, held).await;
    collected.held(how)
}

/// An answer that is being read.
struct Hearing<'a> {
    call: &'a mut OpenCall,
    collected: Collected,
    /// Whether what came counts, unless more comes.
    counts: bool,
    is_own: bool,
}

impl Hearing<'_> {
    async fn hear(
        mut self,
        response: &mut IncomingResponse<AnswerBody>,
        limit: usize,
        idle: Duration,
        held: &mut Hold,
        timing: &Timing,
    ) -> Held {
        let how = timing.waiting(pin!(self.collected.read(response, limit, idle, held))).await;
        // While it is still heard: whoever leaves meanwhile has used what came.
        turn::give_way().await;
        self.counts &= how == How::Late;
        self.collected.held(how)
    }
}

impl Drop for Hearing<'_> {
    fn drop(&mut self) {
        if !self.counts || self.collected.bytes().is_empty() {
            return;
        }
        let (mut finder, mut passed) = (UsageFinder::default(), Passed::default());
        finder.push(self.collected.bytes());
        passed.answer(self.collected.bytes());
        let told = dialects::usage_found(self.call.call_type(), &finder).filter(|_| self.is_own);
        let used = Used::of_answer(told, self.call.call_type(), self.call.prompt(), &passed);
        self.call.used_so_far(used);
    }
}

/// How the reading ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Whole,
    Large,
    Broken,
    Late,
}

/// Most bodies come in one piece, which is passed on uncopied.
struct Collected {
    first: Bytes,
    /// All pieces, where there are several.
    all: BytesMut,
}

impl Collected {
    fn begin(begun: Bytes) -> Self {
        Self { first: begun, all: BytesMut::new() }
    }

    fn bytes(&self) -> &[u8] {
        if self.all.is_empty() { &self.first } else { &self.all }
    }

    async fn read(
        &mut self,
        response: &mut IncomingResponse<AnswerBody>,
        limit: usize,
        idle: Duration,
        held: &mut Hold,
    ) -> How {
        // A stream that is reset without an error was cut, though no error comes.
        let says_its_end = response.version() == Version::HTTP_2;
        let body = response.body_mut();
        if body.size_hint().lower() > limit as u64 {
            return How::Large;
        }
        loop {
            let frame = match within(idle, body.frame()).await {
                None => return How::Late,
                Some(None) if says_its_end && !body.is_end_stream() => return How::Broken,
                Some(None) => return How::Whole,
                Some(Some(Err(_broken))) => return How::Broken,
                Some(Some(Ok(frame))) => frame,
            };
            let Ok(data) = frame.into_data() else { continue };
            self.push(data);
            let length = self.all.capacity().max(self.first.len());
            let is_large = self.all.len() > limit || length > limit.saturating_mul(2);
            if is_large || (length > UNCOUNTED && !held.try_grow_to(length)) {
                return How::Large;
            }
            // Most say how long they are, and are not asked once more.
            if body.is_end_stream() {
                return How::Whole;
            }
        }
    }

    fn push(&mut self, piece: Bytes) {
        if self.first.is_empty() {
            self.first = piece;
            return;
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&self.first);
        }
        self.all.extend_from_slice(&piece);
    }

    /// What was read. Of what did not come on, it stays here.
    fn held(&mut self, how: How) -> Held {
        if how == How::Late {
            return Held::Late;
        }
        let (first, all) = (std::mem::take(&mut self.first), std::mem::take(&mut self.all));
        let bytes = if all.is_empty() { first } else { all.freeze() };
        match how {
            How::Whole => Held::Whole(bytes),
            How::Large => Held::Large(bytes),
            How::Broken => Held::Broken,
            How::Late => Held::Late,
        }
    }
}

#[cfg(test)]
mod tests;
