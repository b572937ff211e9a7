//! For tests: what the journals of a folder hold.

use std::{ops::Deref, path::Path};

use bailiwick_proto::worker::v1::{UsageEvent, UsageSubject};
use prost::Message as _;

use super::{
    group::{RecordedGroup, Said},
    record::{self, Kind},
};

/// A call as it is recorded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Metered {
    pub(crate) subject: UsageSubject,
    pub(crate) event: UsageEvent,
}

impl Metered {
    pub(crate) fn decode(subject: &[u8], event: &[u8]) -> Self {
        Self { subject: UsageSubject::decode(subject).unwrap(), event: UsageEvent::decode(event).unwrap() }
    }
}

impl Deref for Metered {
    type Target = UsageEvent;

    fn deref(&self) -> &UsageEvent {
        &self.event
    }
}

/// Calls that ended, in the order of each file.
pub(crate) fn events(folder: &Path) -> Vec<Metered> {
    of(folder, Said::End)
}

/// Calls that started.
pub(crate) fn started(folder: &Path) -> Vec<Metered> {
    of(folder, Said::Start)
}

fn of(folder: &Path, said: Said) -> Vec<Metered> {
    let mut found = Vec::new();
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    for file in files.filter(|path| path.extension().is_some_and(|extension| extension == "journal")) {
        let bytes = std::fs::read(file).unwrap();
        let mut rest = bytes.as_slice();
        while let Some(record) = record::first(rest) {
            if record.kind == Kind::Calls {
                let calls = RecordedGroup::read(record.payload).unwrap().calls;
                let said = calls.filter(|call| call.said == said);
                found.extend(said.map(|call| Metered::decode(call.subject, call.event)));
            }
            rest = &rest[record.size()..];
        }
    }
    found
}
