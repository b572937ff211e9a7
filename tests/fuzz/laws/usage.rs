//! Usage in answers that are no streams: read from a whole one, or found in a large one that passes.

use serde_json::Value;

use crate::dialects::{openai, tail::UsageFinder};

/// However the bytes are cut, the same is found; and where both readers can read an answer, they read the same from it.
pub fn usage(bytes: &[u8]) {
    let (bytes, pieces) = super::cut(bytes);
    let (found, closed) = find(&pieces);
    assert_eq!(find(&[bytes]), (found.clone(), closed));
    let Some(whole) = openai::usage_of(bytes) else { return };
    assert!(bytes.trim_ascii_start().starts_with(b"{"), "no JSON object, and so no answer");
    assert!(closed, "a whole answer ends where its object does");
    // The one that looks at passing bytes knows the member by its plain spelling.
    let plain = !bytes.contains(&b'\\');
    let told = serde_json::from_slice::<Value>(bytes).ok().filter(|answer| answer["usage"].is_object());
    if plain && told.is_some() {
        assert_eq!(found.as_deref().and_then(openai::usage_in), whole);
    }
}

fn find(pieces: &[&[u8]]) -> (Option<Vec<u8>>, bool) {
    let mut finder = UsageFinder::default();
    pieces.iter().for_each(|piece| finder.push(piece));
    (finder.found().map(<[u8]>::to_vec), finder.is_closed())
}
