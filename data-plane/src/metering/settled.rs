//! For tests: what the journals of a folder hold.

use std::path::Path;

use bailiwick_proto::worker::v1::UsageEvent;
use prost::Message as _;

use super::record::{self, Kind};

/// Calls that ended, in the order of each file.
pub(crate) fn events(folder: &Path) -> Vec<UsageEvent> {
    of(folder, Kind::Event)
}

/// Calls that started.
pub(crate) fn started(folder: &Path) -> Vec<UsageEvent> {
    of(folder, Kind::Started)
}

fn of(folder: &Path, kind: Kind) -> Vec<UsageEvent> {
    let mut found = Vec::new();
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    for file in files.filter(|path| path.extension().is_some_and(|extension| extension == "journal")) {
        let bytes = std::fs::read(file).unwrap();
        let mut rest = bytes.as_slice();
        while let Some(record) = record::first(rest) {
            if record.kind == kind {
                found.push(UsageEvent::decode(record.payload).unwrap());
            }
            rest = &rest[record.size()..];
        }
    }
    found
}
