//! Reads usage from a body that passes, and says what of it may go on.

mod translated;

use std::collections::VecDeque;

use bailiwick_dialects::{Seen, Usage, observe};
use bailiwick_domain::{
    price::TokenCounts,
    usage::{CallEnd, CallType, UsageSource},
};
use bytes::Bytes;

use crate::dialects::{
    self,
    openai::{self, Event},
    sse::{self, Events, Raw},
    tail::UsageFinder,
};

pub(super) use translated::TranslatedReader;

/// How usage is read.
pub(super) enum Reader {
    Events(EventReader),
    /// One JSON object, too large to hold.
    Object(CallType, UsageFinder),
    /// A stream of another dialect.
    Translated(Box<TranslatedReader>),
}

impl Reader {
    /// A reader of a stream. `withhold`: the event that carries nothing but usage is kept from the caller, who did not ask for it.
    pub(super) fn of_events(call_type: CallType, withhold: bool) -> Self {
        Self::Events(EventReader {
            events: Events::default(),
            call_type,
            withhold,
            seen: 0,
            tokens: None,
            so_far: None,
            done: false,
        })
    }

    pub(super) fn of_object(call_type: CallType) -> Self {
        Self::Object(call_type, UsageFinder::default())
    }

    /// Looks at a piece, and makes ready what may go on.
    pub(super) fn take(&mut self, piece: Bytes, ready: &mut VecDeque<Bytes>) {
        match self {
            Self::Events(reader) => reader.take(piece, ready),
            Self::Object(_, finder) => {
                finder.push(&piece);
                ready.push_back(piece);
            }
            Self::Translated(reader) => reader.take(&piece, ready),
        }
    }

    /// The provider has said everything: what was held goes on too.
    pub(super) fn finish(&mut self, ready: &mut VecDeque<Bytes>) {
        match self {
            Self::Events(reader) if reader.withhold => {
                ready.extend(Some(reader.events.rest()).filter(|rest| !rest.is_empty()));
            }
            Self::Translated(reader) => reader.finish(ready),
            Self::Events(_) | Self::Object(..) => {}
        }
    }

    /// What is known of the call's tokens, and where from.
    pub(super) fn counted(&self) -> (UsageSource, TokenCounts) {
        let (tokens, so_far, seen) = match self {
            Self::Events(reader) => (reader.tokens, reader.so_far, reader.seen),
            Self::Object(call_type, finder) => {
                (finder.found().and_then(|usage| dialects::usage_in(*call_type, usage)), None, 0)
            }
            Self::Translated(reader) => {
                let usage = reader.usage();
                (usage.filter(|usage| usage.is_final).map(dialects::tokens), usage, reader.pieces())
            }
        };
        match tokens {
            Some(tokens) => (UsageSource::ProviderFinal, tokens),
            // Each piece of a stream holds a token or more: a lower bound.
            None if seen > 0 || so_far.is_some() => {
                let known = so_far.map(dialects::tokens).unwrap_or_default();
                (UsageSource::Partial, TokenCounts { completion: known.completion.max(seen), ..known })
            }
            None => (UsageSource::Estimated, TokenCounts::default()),
        }
    }

    /// Whether a stream's last event has passed.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Events(reader) => reader.done,
            Self::Object(..) => false,
            Self::Translated(reader) => reader.is_done(),
        }
    }

    /// Whether a translation has told its caller that the stream failed: nothing follows.
    pub(super) fn is_failed(&self) -> bool {
        matches!(self, Self::Translated(reader) if reader.is_failed())
    }

    /// Tells the caller of a translation that the provider broke off.
    pub(super) fn tell(&mut self, end: CallEnd, ready: &mut VecDeque<Bytes>) {
        if let Self::Translated(reader) = self {
            reader.fail(end, ready);
        }
    }

    /// Whether what has passed ends where an answer does.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Events(reader) => reader.done,
            Self::Object(_, finder) => finder.is_closed(),
            Self::Translated(reader) => reader.is_done(),
        }
    }

    /// What stands before an event that is put behind what has gone on: it must not become a part of one that broke off. `None`: this is no stream
    /// that errors are put behind here.
    pub(super) fn separator(&self) -> Option<&'static str> {
        match self {
            Self::Object(..) | Self::Translated(_) => None,
            Self::Events(reader) => {
                let amid =
                    if reader.withhold { reader.events.is_oversized() } else { reader.events.is_amid() };
                Some(if amid { "\n\n" } else { "" })
            }
        }
    }
}

pub(super) struct EventReader {
    events: Events,
    call_type: CallType,
    withhold: bool,
    /// Pieces of the answer so far.
    seen: u64,
    tokens: Option<TokenCounts>,
    /// What was told in the middle, and may grow.
    so_far: Option<Usage>,
    done: bool,
}

impl EventReader {
    fn take(&mut self, piece: Bytes, ready: &mut VecDeque<Bytes>) {
        let begins_here = !self.events.is_amid();
        let mut withheld = false;
        let mut kept = VecDeque::new();
        self.events.push(&piece);
        while let Some(raw) = self.events.next() {
            if self.may_go_on(&raw) {
                kept.extend(self.withhold.then_some(raw.bytes));
            } else {
                withheld = true;
            }
        }
        // Whole events of which none is kept back go on as they came, in one piece.
        if !self.withhold || (begins_here && !withheld && !self.events.is_amid()) {
            ready.push_back(piece);
        } else {
            ready.append(&mut kept);
        }
    }

    fn may_go_on(&mut self, raw: &Raw) -> bool {
        if !raw.whole {
            return true;
        }
        let data = sse::data(&raw.bytes);
        if !dialects::tells_as_chat(self.call_type) {
            self.observe(observe(dialects::call(self.call_type), &data));
            return true;
        }
        match openai::event(&data) {
            Event::Content => self.seen += 1,
            Event::Usage(tokens, alone) => {
                self.tokens = Some(tokens);
                return !(alone && self.withhold);
            }
            Event::Done => self.done = true,
            Event::Other => {}
        }
        true
    }

    fn observe(&mut self, seen: Seen) {
        match seen {
            Seen::Content => self.seen += 1,
            Seen::Usage(usage, _) => self.learn(usage),
            Seen::Done(usage) => {
                if let Some(usage) = usage {
                    self.learn(usage);
                }
                self.done = true;
            }
            Seen::Failed | Seen::Other => {}
        }
    }

    fn learn(&mut self, usage: Usage) {
        let known = self.so_far.map_or(usage, |so_far| so_far.updated(usage));
        self.so_far = Some(known);
        if known.is_final {
            self.tokens = Some(dialects::tokens(known));
        }
    }
}
