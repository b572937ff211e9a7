//! Changes a JSON body where it must be changed, and nowhere else.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::{Asked, StreamOptions};

/// The JSON for a provider that calls the model `upstream_model`, and, where `ask_for_usage`, shall tell usage at the end of a stream.
/// The same bytes, uncopied, when nothing is to be changed.
pub(crate) fn splice(body: &Bytes, asked: &Asked, upstream_model: &str, ask_for_usage: bool) -> Bytes {
    let mut changes: Vec<(Range<usize>, String)> = Vec::new();
    if asked.model != upstream_model {
        // Model names consist of characters that JSON does not escape.
        changes.push((asked.model_at.clone(), format!("\"{upstream_model}\"")));
    }
    if ask_for_usage {
        changes.extend(usage_change(body, &asked.stream_options));
    }
    if changes.is_empty() {
        return body.clone();
    }
    changes.sort_by_key(|(place, _)| place.start);
    let mut spliced = BytesMut::with_capacity(body.len() + 64);
    let mut done = 0;
    for (place, text) in changes {
        spliced.extend_from_slice(body.get(done..place.start).unwrap_or_default());
        spliced.extend_from_slice(text.as_bytes());
        done = place.end;
    }
    spliced.extend_from_slice(body.get(done..).unwrap_or_default());
    spliced.freeze()
}

fn usage_change(body: &Bytes, options: &StreamOptions) -> Option<(Range<usize>, String)> {
    const WANTED: &str = r#"{"include_usage":true}"#;
    match options {
        StreamOptions::WithUsage => None,
        StreamOptions::Null(place) => Some((place.clone(), WANTED.to_owned())),
        StreamOptions::Without(place) => Some((place.clone(), "true".to_owned())),
        StreamOptions::Silent(place, false) => Some((place.clone(), WANTED.to_owned())),
        StreamOptions::Silent(place, true) => {
            let inside = place.start + 1;
            Some((inside..inside, r#""include_usage":true,"#.to_owned()))
        }
        StreamOptions::Absent => {
            // The object has at least its model, so a comma belongs behind what is put first.
            let inside = body.iter().position(|byte| *byte == b'{')? + 1;
            Some((inside..inside, format!(r#""stream_options":{WANTED},"#)))
        }
    }
}
