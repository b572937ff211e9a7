//! API keys and join tokens, as callers present them (R1).

use bailiwick_domain::{
    jurisdiction::Regional,
    key::{JoinToken, PresentedKey, region_of_prefix},
};

/// Bytes of an API key beside its region's short form.
const KEY_BYTES: usize = "bw__".len() + 16 + "_".len() + 32 + 6;
/// Bytes of a join token beside its region's short form: it carries a fingerprint too.
const TOKEN_BYTES: usize = "bwjoin__".len() + 16 + "_".len() + 32 + 43 + 6;

/// What is accepted has its one length, names its region in its prefix, is never taken for the other kind, and is accepted in no spelling but its
/// own: not with one character changed, cut short or grown.
pub fn keys(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let region = region_of_prefix(text);
    let (key, token) = (PresentedKey::parse(text), JoinToken::parse(text));
    assert!(key.is_err() || token.is_err(), "a key and a token at once");
    if let Ok(key) = key {
        assert_eq!(Some(key.region_code()), region);
        assert_eq!(text.len(), KEY_BYTES + key.region_code().as_str().len());
        let id = format!("bw_{}_{}_", key.region_code(), key.key_id().local_part());
        assert!(text.starts_with(&id), "an identifier that the key does not hold");
        assert!(neighbours(text).all(|near| PresentedKey::parse(&near).is_err()));
    }
    if let Ok(token) = token {
        assert_eq!(region, None, "a router would take it for a key");
        assert_eq!(text.len(), TOKEN_BYTES + token.region_code().as_str().len());
        assert!(neighbours(text).all(|near| JoinToken::parse(&near).is_err()));
    }
}

/// The text with one character changed in each place, without its last, and with one more.
fn neighbours(text: &str) -> impl Iterator<Item = String> {
    let changed = text.char_indices().map(move |(at, old)| {
        let new = if old == 'A' { 'B' } else { 'A' };
        text.char_indices().map(|(place, c)| if place == at { new } else { c }).collect()
    });
    changed.chain([text.chars().take(text.len() - 1).collect(), format!("{text}A")])
}
