//! Reads usage from a body that passes, and says what of it may go on.

mod translated;

use std::collections::VecDeque;

use bailiwick_dialects::{Seen, Usage, observe};
use bailiwick_domain::usage::{CallEnd, CallType, UsageSource};
use bytes::Bytes;

use crate::{
    dialects::{
        self, Told,
        openai::{self, Event},
        sse::{self, Events, Raw},
        tail::UsageFinder,
    },
    estimate::{Passed, Prompt},
    memory::{Hold, UNCOUNTED},
    metering::Used,
};

pub(super) use translated::TranslatedReader;

/// How usage is read.
pub(super) enum Reader {
    Events(Box<EventReader>),
    /// One JSON object, too large to hold.
    Object(Box<ObjectReader>),
    /// A stream of another dialect.
    Translated(Box<TranslatedReader>),
}

impl Reader {
    /// A reader of a stream. `withhold`: the event that carries nothing but usage is kept from the caller, who did not ask for it.
    pub(super) fn of_events(call_type: CallType, withhold: bool, hold: Hold) -> Self {
        Self::Events(Box::new(EventReader {
            events: Events::default(),
            hold,
            call_type,
            withhold,
            passed: Passed::default(),
            large: None,
            told: None,
            told_amid: false,
            so_far: None,
            images: 0,
            done: false,
        }))
    }

    pub(super) fn of_object(call_type: CallType) -> Self {
        let (finder, passed) = (UsageFinder::default(), Passed::default());
        Self::Object(Box::new(ObjectReader { call_type, finder, passed }))
    }

    /// Looks at a piece, and makes ready what may go on.
    pub(super) fn take(&mut self, piece: Bytes, ready: &mut VecDeque<Bytes>) {
        match self {
            Self::Events(reader) => reader.take(piece, ready),
            Self::Object(reader) => {
                reader.finder.push(&piece);
                if reader.is_text() {
                    reader.passed.plain(&piece);
                }
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
            Self::Events(_) | Self::Object(_) => {}
        }
    }

    /// What the call has used, and where that is known from.
    pub(super) fn used(&self, call_type: CallType, prompt: &Prompt, end: CallEnd) -> Used {
        let (told, so_far, passed) = match self {
            Self::Events(reader) => (reader.told(), reader.so_far, &reader.passed),
            Self::Object(reader) => {
                (dialects::usage_found(reader.call_type, &reader.finder), None, &reader.passed)
            }
            Self::Translated(reader) => {
                let usage = reader.usage();
                let last = usage.filter(|usage| usage.is_final).map(|usage| dialects::tokens(usage).into());
                (last, usage, reader.passed())
            }
        };
        match told {
            Some(told) if end == CallEnd::Completed || !self.is_amid_answer() => {
                Used::told(UsageSource::ProviderFinal, told)
            }
            Some(told) => Used::estimated(call_type, prompt, passed, Some(told)),
            None => {
                let so_far = so_far.map(|usage| Told::from(dialects::tokens(usage)));
                Used::estimated(call_type, prompt, passed, so_far)
            }
        }
    }

    /// Whether more of the answer was to come behind what was told last: some tell usage with each piece.
    fn is_amid_answer(&self) -> bool {
        match self {
            Self::Events(reader) => !reader.done && (reader.told_amid || !reader.passed.is_empty()),
            Self::Object(_) | Self::Translated(_) => false,
        }
    }

    /// Whether a stream's last event has passed.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Events(reader) => reader.done,
            Self::Object(_) => false,
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
            Self::Object(reader) => reader.finder.is_closed(),
            Self::Translated(reader) => reader.is_done(),
        }
    }

    /// What stands before an event that is put behind what has gone on: it must not become a part of one that broke off. `None`: this is no stream
    /// that errors are put behind here.
    pub(super) fn separator(&self) -> Option<&'static str> {
        match self {
            Self::Object(_) | Self::Translated(_) => None,
            Self::Events(reader) => {
                let amid =
                    if reader.withhold { reader.events.is_oversized() } else { reader.events.is_amid() };
                Some(if amid { "\n\n" } else { "" })
            }
        }
    }
}

/// An answer that passes in pieces which are none of their own.
pub(super) struct ObjectReader {
    call_type: CallType,
    finder: UsageFinder,
    passed: Passed,
}

impl ObjectReader {
    /// Whether its bytes are text that a model has written. What stands around it counts as text too.
    fn is_text(&self) -> bool {
        !matches!(self.call_type, CallType::Image | CallType::Embedding | CallType::Speech)
    }
}

pub(super) struct EventReader {
    events: Events,
    /// What an event takes that has not come whole.
    hold: Hold,
    call_type: CallType,
    withhold: bool,
    /// What of the answer passed since usage was told last.
    passed: Passed,
    /// Of an event that is too large to hold.
    large: Option<Box<UsageFinder>>,
    /// The provider's last word.
    told: Option<Told>,
    /// Whether it came with a piece of the answer.
    told_amid: bool,
    /// What was told in the middle, and may grow.
    so_far: Option<Usage>,
    /// Images that have come whole.
    images: u64,
    done: bool,
}

impl EventReader {
    fn told(&self) -> Option<Told> {
        let mut told = if self.images > 0 { self.told.unwrap_or_default() } else { self.told? };
        told.media.images = self.images;
        Some(told)
    }

    fn take(&mut self, piece: Bytes, ready: &mut VecDeque<Bytes>) {
        let begins_here = !self.events.is_amid();
        let mut withheld = false;
        let mut kept = VecDeque::new();
        self.events.push(&piece);
        loop {
            while let Some(raw) = self.events.next() {
                if self.may_go_on(&raw) {
                    kept.extend(self.withhold.then_some(raw.bytes));
                } else {
                    withheld = true;
                }
            }
            let held = self.events.held_bytes();
            if held <= UNCOUNTED || self.hold.try_grow_to(held) {
                break;
            }
            // Large events pass unread from now on: who sends them is no reason to refuse others.
            self.events.hold_at_most(UNCOUNTED);
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
            self.pass_large(&raw.bytes);
            return true;
        }
        let data = sse::data(&raw.bytes);
        if !dialects::tells_as_chat(self.call_type) {
            self.observe(observe(dialects::call(self.call_type), &data), &data);
            return true;
        }
        match openai::event(&data) {
            Event::Content => self.passed.answer(&data),
            Event::Usage(tokens, alone) => {
                self.told = Some(tokens.into());
                self.told_amid = !alone;
                self.passed.clear();
                return !(alone && self.withhold);
            }
            Event::Done => self.done = true,
            Event::Other => {}
        }
        true
    }

    /// An event that is too large to hold: of what a provider says at the end, also with a picture beside it, the usage is found all the same.
    fn pass_large(&mut self, piece: &[u8]) {
        let of_responses = self.call_type == CallType::Response;
        let begin = || if of_responses { UsageFinder::inside() } else { UsageFinder::default() };
        let finder = self.large.get_or_insert_with(|| Box::new(begin()));
        finder.push(piece);
        if self.events.is_oversized() {
            return;
        }
        let told = self.large.take().and_then(|finder| dialects::usage_found(self.call_type, &finder));
        let Some(told) = told else { return };
        self.images += u64::from(self.call_type == CallType::Image);
        self.told = Some(told);
        self.passed.clear();
        self.done |= of_responses || self.call_type == CallType::Image;
    }

    fn observe(&mut self, seen: Seen, data: &[u8]) {
        match seen {
            Seen::Content => self.passed.answer(data),
            Seen::Usage(usage, _) => self.learn(usage),
            Seen::Done(usage) => {
                self.images += u64::from(self.call_type == CallType::Image);
                match dialects::usage_at_end(self.call_type, data) {
                    Some(told) => self.told = told,
                    None => usage.into_iter().for_each(|usage| self.learn(usage)),
                }
                self.done = true;
            }
            Seen::Failed | Seen::Other => {}
        }
    }

    fn learn(&mut self, usage: Usage) {
        let known = self.so_far.map_or(usage, |so_far| so_far.updated(usage));
        self.so_far = Some(known);
        self.passed.clear();
        if known.is_final {
            self.told = Some(dialects::tokens(known).into());
        }
    }
}

#[cfg(test)]
mod tests;
