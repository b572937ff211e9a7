//! Tokens of a call whose provider does not tell them: a stream that was cut, an answer without usage. Counted from what passed, and marked as estimated.
//!
//! Nothing is counted in tokens while a call is under way, nor ever on one that tells its usage. Of what passes, the bytes of text are added up, and its beginning is kept in
//! memory up to a bound ([`SAMPLE_BYTES`]) until the call ends (R8: nothing of it is stored): the sample's tokens, counted once at the end, tell how many the whole has.
//!
//! Tokens are those of OpenAI's `o200k_base`. Other providers cut text otherwise: their counts of the same text lie within about a quarter of it.

mod text;
mod tokenizer;

use std::borrow::Cow;

use bytes::Bytes;
use zeroize::Zeroize as _;

/// Text of a call's beginning that is kept until its end. What is longer is taken to go on as it began.
const SAMPLE_BYTES: usize = 4 << 10;
/// What OpenAI's chat format adds to a message, and to the whole (<https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken>).
const TOKENS_PER_MESSAGE: u64 = 3;
const TOKENS_PER_CHAT: u64 = 3;
/// The least that a picture costs at OpenAI (<https://platform.openai.com/docs/guides/images-vision>).
const TOKENS_PER_PICTURE: u64 = 85;
/// A minute of generated speech is about this many tokens (<https://platform.openai.com/docs/models/gpt-4o-mini-tts>: $12 a million, $0.015 a minute), and about this many
/// characters of text.
const SPEECH_TOKENS_PER_MINUTE: u64 = 1250;
const SPEECH_CHARACTERS_PER_MINUTE: u64 = 900;
const MILLIS_PER_MINUTE: u64 = 60_000;

/// Bytes of a request for each token of it, its JSON included.
const BYTES_PER_TOKEN: u64 = 4;
/// What a request may count as by its size alone: a larger one has pictures, mostly, and of these the bytes say nothing.
const MOST_BY_SIZE: u64 = 16 << 10;

/// Tokens of a request of which nothing is known but its bytes.
pub(crate) fn tokens_by_size(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX).div_ceil(BYTES_PER_TOKEN).min(MOST_BY_SIZE)
}

/// Text that passed.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// All of it, as it stood in JSON.
    bytes: u64,
    sample: String,
    /// What the sample stands for, as it stood in JSON.
    sample_bytes: u64,
}

impl Passed {
    /// Adds the text that a piece of an answer has: one JSON object.
    pub(crate) fn answer(&mut self, data: &[u8]) {
        text::generated(data, |raw| self.push(raw));
    }

    /// Adds text that has no JSON around it.
    pub(crate) fn plain(&mut self, data: &[u8]) {
        self.bytes = self.bytes.saturating_add(data.len() as u64);
        if self.sample.len() < SAMPLE_BYTES {
            self.keep(data.len(), &String::from_utf8_lossy(data.get(..SAMPLE_BYTES).unwrap_or(data)));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// What was told since needs no estimate.
    pub(crate) fn clear(&mut self) {
        (self.bytes, self.sample_bytes) = (0, 0);
        self.sample.zeroize();
    }

    /// `raw`: a JSON string without its quotes.
    fn push(&mut self, raw: &[u8]) {
        self.bytes = self.bytes.saturating_add(raw.len() as u64);
        if self.sample.len() < SAMPLE_BYTES {
            self.keep(raw.len(), &text::unescaped(text::beginning(raw, SAMPLE_BYTES)));
        }
    }

    fn keep(&mut self, length: usize, text: &str) {
        let room = SAMPLE_BYTES.saturating_sub(self.sample.len());
        let kept =
            (0..=room.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        let Some(part) = text.get(..kept).filter(|part| !part.is_empty()) else { return };
        // At once, because a string that grows leaves what it held behind, where nothing zeroes it.
        self.sample.reserve_exact(room);
        self.sample.push_str(part);
        let stands_for = length.min(SAMPLE_BYTES) as u64 * part.len() as u64 / text.len().max(1) as u64;
        self.sample_bytes = self.sample_bytes.saturating_add(stands_for.max(1));
    }

    /// Its tokens. Takes time: to be called once, at the end.
    pub(crate) fn tokens(&self) -> u64 {
        if self.bytes == 0 {
            return 0;
        }
        if self.sample.is_empty() {
            return tokenizer::tokens_of_bytes(self.bytes);
        }
        let of_sample = u128::from(tokenizer::count(&self.sample));
        let scaled = of_sample * u128::from(self.bytes.max(self.sample_bytes));
        let tokens = scaled.div_ceil(u128::from(self.sample_bytes.max(1)));
        u64::try_from(tokens).unwrap_or(u64::MAX).min(MOST)
    }
}

/// Counts go into signed columns.
const MOST: u64 = 1 << 40;

impl Drop for Passed {
    fn drop(&mut self) {
        self.sample.zeroize();
    }
}

/// What a call asked for.
#[derive(Debug, Default)]
pub(crate) enum Prompt {
    /// Nothing that is counted in tokens.
    #[default]
    Nothing,
    /// The request's body, while its call holds it anyway.
    Body(Bytes),
    /// What is kept of it while an answer passes that may take long.
    Read(Box<Read>),
}

#[derive(Debug, Default)]
pub(crate) struct Read {
    text: Passed,
    messages: u64,
    pictures: u64,
}

impl Prompt {
    /// Lets the body go.
    pub(crate) fn shrink(&mut self) {
        if let Self::Body(body) = self {
            *self = Self::Read(Box::new(Read::of(body)));
        }
    }

    /// Its tokens. Takes time: to be called once, at the end.
    pub(crate) fn tokens(&self) -> u64 {
        self.read().tokens()
    }

    /// What a speech takes that is made of it: tokens, and milliseconds.
    pub(crate) fn spoken(&self) -> (u64, u64) {
        let characters = self.read().text.bytes;
        let of = |per_minute: u64| characters.saturating_mul(per_minute) / SPEECH_CHARACTERS_PER_MINUTE;
        (of(SPEECH_TOKENS_PER_MINUTE).min(MOST), of(MILLIS_PER_MINUTE).min(MOST))
    }

    fn read(&self) -> Cow<'_, Read> {
        match self {
            Self::Nothing => Cow::Owned(Read::default()),
            Self::Body(body) => Cow::Owned(Read::of(body)),
            Self::Read(read) => Cow::Borrowed(read),
        }
    }
}

impl Clone for Read {
    fn clone(&self) -> Self {
        let Self { text: Passed { bytes, sample, sample_bytes }, messages, pictures } = self;
        let text = Passed { bytes: *bytes, sample: sample.clone(), sample_bytes: *sample_bytes };
        Self { text, messages: *messages, pictures: *pictures }
    }
}

impl Read {
    fn of(body: &[u8]) -> Self {
        let mut read = Self::default();
        text::asked(body, |asked| match asked {
            text::Asked::Text(raw) => read.text.push(raw),
            text::Asked::Message => read.messages += 1,
            text::Asked::Picture => read.pictures += 1,
        });
        read
    }

    fn tokens(&self) -> u64 {
        let chat = if self.messages > 0 { TOKENS_PER_CHAT } else { 0 };
        let messages = self.messages.saturating_mul(TOKENS_PER_MESSAGE);
        let pictures = self.pictures.saturating_mul(TOKENS_PER_PICTURE);
        [self.text.tokens(), messages, chat, pictures].into_iter().fold(0, u64::saturating_add).min(MOST)
    }
}

#[cfg(test)]
mod tests;
