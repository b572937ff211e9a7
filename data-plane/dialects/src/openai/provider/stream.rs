//! Streams: chunks.

use serde::Deserialize;

use crate::{
    Dialect,
    chat::{Event, Usage},
    failure::Failure,
    fault::Fault,
    limits,
};

use super::answer::{BodyLogprobs, BodyUsage, Said, SaidCall, SaidFunction, finish, logprobs};

#[derive(Deserialize)]
struct Chunk {
    choices: Option<Vec<ChunkChoice>>,
    usage: Option<BodyUsage>,
    error: Option<serde::de::IgnoredAny>,
    // Some compatible servers send their errors bare.
    object: Option<String>,
}

#[derive(Deserialize)]
struct ChunkChoice {
    index: Option<u32>,
    delta: Option<Said>,
    finish_reason: Option<String>,
    logprobs: Option<BodyLogprobs>,
}

/// Reads chunks.
#[derive(Default)]
pub(crate) struct ProviderStream {
    calls: Vec<Begun>,
    /// Of what names them.
    held_bytes: usize,
    finished: bool,
    done: bool,
}

/// A call that has begun.
struct Begun {
    choice: u32,
    /// As the provider counts it; some count every call 0, and tell them apart by their names alone.
    index: u32,
    id: String,
}

impl ProviderStream {
    pub(crate) fn read(&mut self, dialect: Dialect, data: &[u8], out: &mut Vec<Event>) -> Result<(), Fault> {
        let data = data.trim_ascii();
        if data.is_empty() {
            return Ok(());
        }
        if data == super::super::DONE {
            self.done = true;
            out.push(Event::Done);
            return Ok(());
        }
        let chunk: Chunk = serde_json::from_slice(data).map_err(|_| Fault::NotOfDialect)?;
        if chunk.error.is_some() || chunk.object.as_deref() == Some("error") {
            out.push(Event::Failed(Failure::read_in_stream(dialect, None, data)));
            return Ok(());
        }
        for choice in chunk.choices.into_iter().flatten() {
            self.choice(choice, out)?;
        }
        let is_final = self.finished;
        out.extend(chunk.usage.map(|usage| Event::Usage(Usage { is_final, ..usage.into() })));
        Ok(())
    }

    /// Bytes that are held.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// What remains when the connection ends where the answer says that it ends: servers that forget `[DONE]` have finished their choices.
    pub(crate) fn end(&mut self, out: &mut Vec<Event>) {
        if self.finished && !self.done {
            self.done = true;
            out.push(Event::Done);
        }
    }

    fn choice(&mut self, choice: ChunkChoice, out: &mut Vec<Event>) -> Result<(), Fault> {
        let index = choice.index.unwrap_or_default();
        let said = choice.delta.unwrap_or_default();
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(text) = some(said.reasoning_content).or(some(said.reasoning)) {
            out.push(Event::Reasoning { choice: index, text });
        }
        if let Some(text) = some(said.content) {
            out.push(Event::Text { choice: index, text, logprobs: logprobs(choice.logprobs) });
        }
        if let Some(text) = some(said.refusal) {
            out.push(Event::Refusal { choice: index, text });
        }
        for (at, call) in said.tool_calls.into_iter().flatten().enumerate() {
            self.call(index, at, call, out)?;
        }
        if let Some(word) = choice.finish_reason {
            self.finished = true;
            let calls = self.calls.iter().any(|call| call.choice == index);
            out.push(Event::Finished { choice: index, finish: finish(&word, calls) });
        }
        Ok(())
    }

    fn call(&mut self, choice: u32, at: usize, call: SaidCall, out: &mut Vec<Event>) -> Result<(), Fault> {
        let index = match call.index {
            Some(index) => index,
            None => u32::try_from(at).map_err(|_| Fault::TooLarge)?,
        };
        let function = call.function.unwrap_or(SaidFunction { name: None, arguments: None });
        let id = call.id.filter(|id| !id.is_empty());
        let same = |begun: &Begun| {
            (begun.choice, begun.index) == (choice, index) && id.as_ref().is_none_or(|id| *id == begun.id)
        };
        let tool = match self.calls.iter().rposition(same) {
            Some(tool) => u32::try_from(tool).map_err(|_| Fault::TooLarge)?,
            None => {
                let (Some(id), Some(name)) = (id, function.name) else { return Err(Fault::OutOfOrder) };
                self.held_bytes = self.held_bytes.saturating_add(id.len());
                if self.calls.len() >= limits::ANSWER_PIECES || self.held_bytes > limits::HELD_BYTES {
                    return Err(Fault::TooLarge);
                }
                let tool = u32::try_from(self.calls.len()).map_err(|_| Fault::TooLarge)?;
                self.calls.push(Begun { choice, index, id: id.clone() });
                out.push(Event::ToolBegan { choice, tool, id, name, signature: None });
                tool
            }
        };
        if let Some(json) = function.arguments.filter(|json| !json.is_empty()) {
            out.push(Event::ToolArguments { choice, tool, json });
        }
        Ok(())
    }
}
