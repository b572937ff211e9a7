//! Streams: events.

use serde::Deserialize;

use crate::{Dialect, chat::Event, failure::Failure, fault::Fault, limits};

use super::answer::{Block, BodyUsage, finish};

#[derive(Deserialize)]
struct StreamEvent {
    #[serde(rename = "type")]
    kind: String,
    message: Option<StartedMessage>,
    index: Option<u64>,
    content_block: Option<Block>,
    delta: Option<Delta>,
    usage: Option<BodyUsage>,
}

#[derive(Deserialize)]
struct StartedMessage {
    usage: Option<BodyUsage>,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(rename = "type")]
    kind: Option<String>,
    text: Option<String>,
    thinking: Option<String>,
    signature: Option<String>,
    partial_json: Option<String>,
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
}

/// Reads events.
#[derive(Default)]
pub(crate) struct ProviderStream {
    usage: BodyUsage,
    /// Which blocks are calls: (block, call).
    tools: Vec<(u64, u32)>,
}

impl ProviderStream {
    pub(crate) fn read(&mut self, data: &[u8], out: &mut Vec<Event>) -> Result<(), Fault> {
        if data.trim_ascii().is_empty() {
            return Ok(());
        }
        let event: StreamEvent = serde_json::from_slice(data).map_err(|_| Fault::NotOfDialect)?;
        match event.kind.as_str() {
            "message_start" => self.count(event.message.and_then(|message| message.usage), false, out),
            "content_block_start" => {
                let (Some(index), Some(block)) = (event.index, event.content_block) else {
                    return Err(Fault::NotOfDialect);
                };
                self.block(index, block, out)?;
            }
            "content_block_delta" => {
                let (Some(index), Some(delta)) = (event.index, event.delta) else {
                    return Err(Fault::NotOfDialect);
                };
                self.delta(index, delta, out)?;
            }
            "message_delta" => {
                let delta = event.delta.ok_or(Fault::NotOfDialect)?;
                if let Some(reason) = delta.stop_reason {
                    let finish = finish(&reason, delta.stop_sequence);
                    out.push(Event::Finished { choice: 0, finish });
                }
                self.count(event.usage, true, out);
            }
            "message_stop" => out.push(Event::Done),
            "error" => out.push(Event::Failed(Failure::read_in_stream(Dialect::Anthropic, None, data))),
            // `ping`, the end of a block, and what may come to be added (<https://docs.claude.com/en/docs/build-with-claude/streaming>).
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, usage: Option<BodyUsage>, is_final: bool, out: &mut Vec<Event>) {
        if let Some(usage) = usage {
            self.usage = self.usage.updated(usage);
            out.push(Event::Usage(self.usage.counted(is_final)));
        }
    }

    fn block(&mut self, index: u64, block: Block, out: &mut Vec<Event>) -> Result<(), Fault> {
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        match block.kind.as_str() {
            "text" => {
                let text = some(block.text);
                out.extend(text.map(|text| Event::Text { choice: 0, text, logprobs: Vec::new() }));
            }
            "thinking" => {
                out.extend(some(block.thinking).map(|text| Event::Reasoning { choice: 0, text }));
            }
            "redacted_thinking" => {
                let data = block.data.ok_or(Fault::NotOfDialect)?;
                out.push(Event::Redacted { choice: 0, data });
            }
            "tool_use" => {
                let (Some(id), Some(name)) = (block.id, block.name) else { return Err(Fault::NotOfDialect) };
                if self.tools.len() >= limits::ANSWER_PIECES {
                    return Err(Fault::TooLarge);
                }
                let tool = u32::try_from(self.tools.len()).map_err(|_| Fault::TooLarge)?;
                self.tools.push((index, tool));
                out.push(Event::ToolBegan { choice: 0, tool, id, name, signature: None });
            }
            _ => {}
        }
        Ok(())
    }

    fn delta(&mut self, index: u64, delta: Delta, out: &mut Vec<Event>) -> Result<(), Fault> {
        match delta.kind.as_deref() {
            Some("text_delta") => {
                let text = delta.text.ok_or(Fault::NotOfDialect)?;
                out.push(Event::Text { choice: 0, text, logprobs: Vec::new() });
            }
            Some("thinking_delta") => {
                out.push(Event::Reasoning { choice: 0, text: delta.thinking.ok_or(Fault::NotOfDialect)? });
            }
            Some("signature_delta") => {
                let signature = delta.signature.ok_or(Fault::NotOfDialect)?;
                out.push(Event::Signature { choice: 0, signature });
            }
            Some("input_json_delta") => {
                let json = delta.partial_json.ok_or(Fault::NotOfDialect)?;
                let tool = self.tools.iter().rev().find(|(block, _)| *block == index).map(|(_, tool)| *tool);
                if let (Some(tool), false) = (tool, json.is_empty()) {
                    out.push(Event::ToolArguments { choice: 0, tool, json });
                }
            }
            _ => {}
        }
        Ok(())
    }
}
