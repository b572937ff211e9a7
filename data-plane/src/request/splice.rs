//! Changes a JSON body where it must be changed, and nowhere else.

use std::ops::Range;

use bytes::Bytes;

use super::{Asked, StreamOptions};

/// What a stream is asked for.
const WANTED: &str = r#"{"include_usage":true}"#;

/// Another text at a place.
struct Change<'a> {
    at: Range<usize>,
    /// In this order.
    texts: [&'a str; 3],
}

impl Change<'_> {
    fn added(&self) -> usize {
        self.texts.iter().map(|text| text.len()).sum()
    }
}

/// The JSON for a provider that calls the model `upstream_model`, and, where `ask_for_usage`, shall tell usage at the end of a stream.
/// The same bytes, uncopied, when nothing is to be changed.
pub(crate) fn splice(body: &Bytes, asked: &Asked, upstream_model: &str, ask_for_usage: bool) -> Bytes {
    // Model names consist of characters that JSON does not escape.
    let name = (asked.model != upstream_model)
        .then(|| Change { at: asked.model_at.clone(), texts: ["\"", upstream_model, "\""] });
    let usage = if ask_for_usage { usage_change(body, &asked.stream_options) } else { None };
    let changes = match (name, usage) {
        (None, None) => return body.clone(),
        (Some(name), Some(usage)) if usage.at.start < name.at.start => [Some(usage), Some(name)],
        (name, usage) => [name, usage],
    };
    let changes = || changes.iter().flatten();
    let removed: usize = changes().map(|change| change.at.len()).sum();
    let added: usize = changes().map(Change::added).sum();
    // Exactly as large as it becomes: then it is not moved again.
    let mut spliced = Vec::with_capacity((body.len() + added).saturating_sub(removed));
    let mut done = 0;
    for change in changes() {
        spliced.extend_from_slice(body.get(done..change.at.start).unwrap_or_default());
        change.texts.iter().for_each(|text| spliced.extend_from_slice(text.as_bytes()));
        done = change.at.end;
    }
    spliced.extend_from_slice(body.get(done..).unwrap_or_default());
    spliced.into()
}

fn usage_change(body: &Bytes, options: &StreamOptions) -> Option<Change<'static>> {
    let (at, texts) = match options {
        StreamOptions::WithUsage => return None,
        StreamOptions::Null(place) | StreamOptions::Silent(place, false) => (place.clone(), [WANTED, "", ""]),
        StreamOptions::Without(place) => (place.clone(), ["true", "", ""]),
        StreamOptions::Silent(place, true) => {
            let inside = place.start + 1;
            (inside..inside, [r#""include_usage":true,"#, "", ""])
        }
        StreamOptions::Absent => {
            // The object has at least its model, so a comma belongs behind what is put first.
            let inside = body.iter().position(|byte| *byte == b'{')? + 1;
            (inside..inside, [r#""stream_options":"#, WANTED, ","])
        }
    };
    Some(Change { at, texts })
}
