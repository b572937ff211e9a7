//! Reads usage from a body that passes, and says what of it may go on.

use std::collections::VecDeque;

use bailiwick_domain::{price::TokenCounts, usage::UsageSource};
use bytes::Bytes;

use crate::dialects::{
    openai::{self, Event},
    sse::{self, Events, Raw},
    tail::UsageFinder,
};

/// How usage is read.
pub(super) enum Reader {
    Events(EventReader),
    /// One JSON object, too large to hold.
    Object(UsageFinder),
}

impl Reader {
    /// A reader of a stream. `withhold`: the event that carries nothing but usage is kept from the caller, who did not ask for it.
    pub(super) fn of_events(withhold: bool) -> Self {
        Self::Events(EventReader { events: Events::default(), withhold, seen: 0, tokens: None, done: false })
    }

    pub(super) fn of_object() -> Self {
        Self::Object(UsageFinder::default())
    }

    /// Looks at a piece, and makes ready what may go on.
    pub(super) fn take(&mut self, piece: Bytes, ready: &mut VecDeque<Bytes>) {
        match self {
            Self::Events(reader) => reader.take(piece, ready),
            Self::Object(finder) => {
                finder.push(&piece);
                ready.push_back(piece);
            }
        }
    }

    /// The provider has said everything: what was held goes on too.
    pub(super) fn finish(&mut self, ready: &mut VecDeque<Bytes>) {
        if let Self::Events(reader) = self
            && reader.withhold
        {
            ready.extend(Some(reader.events.rest()).filter(|rest| !rest.is_empty()));
        }
    }

    /// What is known of the call's tokens, and where from.
    pub(super) fn counted(&self) -> (UsageSource, TokenCounts) {
        let (tokens, seen) = match self {
            Self::Events(reader) => (reader.tokens, reader.seen),
            Self::Object(finder) => (finder.found().and_then(openai::usage_in), 0),
        };
        match tokens {
            Some(tokens) => (UsageSource::ProviderFinal, tokens),
            // Each piece of a stream holds a token or more: a lower bound.
            None if seen > 0 => {
                (UsageSource::Partial, TokenCounts { completion: seen, ..TokenCounts::default() })
            }
            None => (UsageSource::Estimated, TokenCounts::default()),
        }
    }

    /// Whether a stream's last event has passed.
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Events(EventReader { done: true, .. }))
    }

    /// Whether what has passed ends where an answer does.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Events(reader) => reader.done,
            Self::Object(finder) => finder.is_closed(),
        }
    }

    /// What stands before an event that is put behind what has gone on: it must not become a part of one that broke off. `None`: this is no stream.
    pub(super) fn separator(&self) -> Option<&'static str> {
        match self {
            Self::Object(_) => None,
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
    withhold: bool,
    /// Pieces of the answer so far.
    seen: u64,
    tokens: Option<TokenCounts>,
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
        let event = if raw.whole { openai::event(&sse::data(&raw.bytes)) } else { Event::Other };
        match event {
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
}
