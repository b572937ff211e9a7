//! The tokenizer: loaded when a call needs it for the first time, by a thread of its own, because that takes a tenth of a second and 70 MB.

use std::sync::atomic::{AtomicU8, Ordering};

/// Text of this many bytes is a token, roughly: what is counted until the tokenizer is there.
const BYTES_PER_TOKEN: u64 = 4;

const ABSENT: u8 = 0;
const LOADING: u8 = 1;
const READY: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(ABSENT);

/// Tokens of a text of a few kilobytes: some ten microseconds a kilobyte, whatever the text.
pub(super) fn count(text: &str) -> u64 {
    if STATE.load(Ordering::Acquire) == READY {
        return bpe_openai::o200k_base().count(text) as u64;
    }
    load();
    tokens_of_bytes(text.len() as u64)
}

/// The same without the tokenizer.
pub(super) fn tokens_of_bytes(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN)
}

fn load() {
    if STATE.compare_exchange(ABSENT, LOADING, Ordering::AcqRel, Ordering::Relaxed).is_err() {
        return;
    }
    let loader = std::thread::Builder::new().name("tokenizer".to_owned());
    let spawned = loader.spawn(|| {
        bpe_openai::o200k_base();
        STATE.store(READY, Ordering::Release);
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "the tokenizer cannot be loaded; what is estimated is estimated by bytes");
        STATE.store(ABSENT, Ordering::Release);
    }
}

/// Waits for it.
#[cfg(test)]
pub(super) fn ready() {
    load();
    bpe_openai::o200k_base();
    STATE.store(READY, Ordering::Release);
}
