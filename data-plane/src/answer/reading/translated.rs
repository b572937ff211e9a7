//! A stream of one dialect becomes one of another, event by event.

use std::collections::VecDeque;

use bailiwick_dialects::{Class, Dialect, Progress, Reply, StreamTranslator, Usage, bedrock::Frames};
use bailiwick_domain::usage::CallEnd;
use bytes::Bytes;

use crate::{
    dialects::sse::{self, Events},
    estimate::Passed,
    memory::{Hold, UNCOUNTED},
    upstream::Translation,
};

/// What is held of an answer is written once more, into a buffer that grows.
const COPIES: usize = 2;

pub(crate) struct TranslatedReader {
    cutter: Cutter,
    translator: StreamTranslator,
    /// What an event takes that has not come whole, and what the translation holds.
    held: Hold,
    /// What of the answer passed since usage was told last.
    passed: Passed,
    told: Option<Usage>,
}

/// What cuts the provider's bytes into events.
enum Cutter {
    Events(Events),
    Frames(Frames),
}

impl Cutter {
    fn held_bytes(&self) -> usize {
        match self {
            Self::Events(events) => events.held_bytes(),
            Self::Frames(frames) => frames.held_bytes(),
        }
    }
}

impl TranslatedReader {
    pub(crate) fn new(reply: &Reply, translation: &Translation, held: Hold) -> Self {
        let cutter = match translation.provider {
            Dialect::Bedrock => Cutter::Frames(Frames::default()),
            _ => Cutter::Events(Events::default()),
        };
        let translator = reply.translate_stream(&translation.context());
        Self { cutter, translator, held, passed: Passed::default(), told: None }
    }

    pub(super) fn take(&mut self, piece: &Bytes, ready: &mut VecDeque<Bytes>) {
        let mut out = Vec::new();
        if self.cut(piece, &mut out).is_err() {
            self.translator.fail(Class::InvalidAnswer, &mut out);
        }
        let held =
            self.cutter.held_bytes().saturating_add(self.translator.held_bytes().saturating_mul(COPIES));
        if held > UNCOUNTED && self.held.grow_to(held).is_err() {
            self.translator.fail(Class::Overloaded, &mut out);
        }
        ready.extend(Some(out).filter(|out| !out.is_empty()).map(Bytes::from));
    }

    /// Errors: what came is no stream of the dialect, or has an event that is too large to be read.
    fn cut(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), ()> {
        let Self { cutter, translator, passed, told, .. } = self;
        let mut event = |name: &str, data: &[u8], out: &mut Vec<u8>| {
            translator.event(name, data, out);
            passed.answer(data);
            let usage = translator.usage();
            if usage != *told {
                *told = usage;
                passed.clear();
            }
        };
        match cutter {
            Cutter::Events(events) => {
                events.push(piece);
                while let Some(raw) = events.next() {
                    if !raw.whole {
                        return Err(());
                    }
                    event("", &sse::data(&raw.bytes), out);
                }
            }
            Cutter::Frames(frames) => {
                frames.push(piece);
                while let Some(frame) = frames.pop().map_err(|_fault| ())? {
                    event(&frame.name, &frame.payload, out);
                }
            }
        }
        Ok(())
    }

    /// The provider's body ended where it said it would.
    pub(super) fn finish(&mut self, ready: &mut VecDeque<Bytes>) {
        let mut out = Vec::new();
        self.translator.end(true, &mut out);
        ready.extend(Some(out).filter(|out| !out.is_empty()).map(Bytes::from));
    }

    /// The provider broke off, or took too long.
    pub(super) fn fail(&mut self, end: CallEnd, ready: &mut VecDeque<Bytes>) {
        let class = if end == CallEnd::TimedOut { Class::Timeout } else { Class::InvalidAnswer };
        let mut out = Vec::new();
        self.translator.fail(class, &mut out);
        ready.extend(Some(out).filter(|out| !out.is_empty()).map(Bytes::from));
    }

    pub(super) fn is_done(&self) -> bool {
        self.translator.progress() == Progress::Done
    }

    /// Whether the caller was told of an error.
    pub(super) fn is_failed(&self) -> bool {
        matches!(self.translator.progress(), Progress::Failed(_) | Progress::Broken(_))
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        self.translator.usage()
    }

    /// What of the answer passed since usage was told last.
    pub(super) fn passed(&self) -> &Passed {
        &self.passed
    }
}
