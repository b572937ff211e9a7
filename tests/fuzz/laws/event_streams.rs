//! Streams of providers: server-sent events, and the usage in them.

use bytes::Bytes;

use crate::dialects::{
    openai::{self, Event},
    sse::{self, Events},
};

/// No count of a provider goes into the books above this.
const LARGEST_COUNT: u64 = 1 << 40;

/// However the bytes are cut, the same events come out of them, and no byte is lost, moved or made up.
pub fn event_streams(bytes: &[u8]) {
    let (bytes, pieces) = super::cut(bytes);
    let (events, rest) = read(&pieces);
    assert_eq!([events.concat(), rest.to_vec()].concat(), bytes);
    assert_eq!(read(&[bytes]), (events.clone(), rest));
    for event in events {
        let data = sse::data(&event);
        assert!(data.len() <= event.len());
        if let Event::Usage(tokens, _) = openai::event(&data) {
            let counts = [tokens.prompt, tokens.completion, tokens.cached_prompt, tokens.reasoning];
            assert!(counts.iter().all(|count| *count <= LARGEST_COUNT));
        }
    }
}

fn read(pieces: &[&[u8]]) -> (Vec<Bytes>, Bytes) {
    let mut events = Events::default();
    let mut found = Vec::new();
    for piece in pieces {
        events.push(piece);
        while let Some(raw) = events.next() {
            assert!(raw.whole, "these bytes are fewer than an event may have");
            found.push(raw.bytes);
        }
    }
    (found, events.rest())
}
