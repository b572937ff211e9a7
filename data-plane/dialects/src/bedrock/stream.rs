//! Streams. Usage comes behind the end of the message, and ends the stream.

use serde::Deserialize;

use crate::{Dialect, chat::Event, failure::Failure, fault::Fault, limits};

use super::answer::{Counts, finish};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Started {
    content_block_index: u64,
    start: Start,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Start {
    tool_use: Option<StartedTool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StartedTool {
    tool_use_id: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Piece {
    content_block_index: u64,
    delta: Delta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Delta {
    text: Option<String>,
    tool_use: Option<ToolPiece>,
    reasoning_content: Option<ReasoningPiece>,
}

#[derive(Deserialize)]
struct ToolPiece {
    input: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReasoningPiece {
    text: Option<String>,
    signature: Option<String>,
    redacted_content: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stopped {
    stop_reason: String,
}

#[derive(Deserialize)]
struct Metadata {
    usage: Option<Counts>,
}

/// Reads frames.
#[derive(Default)]
pub(crate) struct ProviderStream {
    /// Which blocks are calls: (block, call).
    tools: Vec<(u64, u32)>,
    stopped: bool,
    done: bool,
}

impl ProviderStream {
    pub(crate) fn read(&mut self, name: &str, data: &[u8], out: &mut Vec<Event>) -> Result<(), Fault> {
        match name {
            "contentBlockStart" => {
                let started: Started = parsed(data)?;
                if let Some(tool) = started.start.tool_use {
                    self.began(started.content_block_index, tool, out)?;
                }
            }
            "contentBlockDelta" => self.piece(parsed(data)?, out),
            "messageStop" => {
                let stopped: Stopped = parsed(data)?;
                self.stopped = true;
                out.push(Event::Finished { choice: 0, finish: finish(&stopped.stop_reason)? });
            }
            "metadata" => {
                let metadata: Metadata = parsed(data)?;
                out.extend(metadata.usage.map(|counts| Event::Usage(counts.counted())));
                self.end(out);
            }
            "messageStart" | "contentBlockStop" => {}
            _ if name.ends_with("Exception") || name.ends_with("Error") => {
                out.push(Event::Failed(Failure::read_in_stream(Dialect::Bedrock, Some(name), data)));
            }
            // What may come to be added.
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn end(&mut self, out: &mut Vec<Event>) {
        if self.stopped && !self.done {
            self.done = true;
            out.push(Event::Done);
        }
    }

    fn began(&mut self, index: u64, started: StartedTool, out: &mut Vec<Event>) -> Result<(), Fault> {
        if self.tools.len() >= limits::ANSWER_PIECES {
            return Err(Fault::TooLarge);
        }
        let tool = u32::try_from(self.tools.len()).map_err(|_| Fault::TooLarge)?;
        self.tools.push((index, tool));
        let (id, name) = (started.tool_use_id, started.name);
        out.push(Event::ToolBegan { choice: 0, tool, id, name, signature: None });
        Ok(())
    }

    fn piece(&mut self, piece: Piece, out: &mut Vec<Event>) {
        let delta = piece.delta;
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        out.extend(some(delta.text).map(|text| Event::Text { choice: 0, text, logprobs: Vec::new() }));
        if let Some(ToolPiece { input: json }) = delta.tool_use {
            let mut tools = self.tools.iter().rev();
            let tool = tools.find(|(block, _)| *block == piece.content_block_index).map(|(_, tool)| *tool);
            let tool = tool.filter(|_| !json.is_empty());
            out.extend(tool.map(|tool| Event::ToolArguments { choice: 0, tool, json }));
        }
        if let Some(reasoning) = delta.reasoning_content {
            out.extend(some(reasoning.text).map(|text| Event::Reasoning { choice: 0, text }));
            out.extend(some(reasoning.signature).map(|signature| Event::Signature { choice: 0, signature }));
            out.extend(some(reasoning.redacted_content).map(|data| Event::Redacted { choice: 0, data }));
        }
    }
}

fn parsed<'a, T: Deserialize<'a>>(data: &'a [u8]) -> Result<T, Fault> {
    serde_json::from_slice(data).map_err(|_| Fault::NotOfDialect)
}
