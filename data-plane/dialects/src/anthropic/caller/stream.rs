//! A stream, for a caller of messages. Held: the reason of the end, until usage is known too.

use crate::{
    chat::{Event, Finish, Usage},
    failure::Failure,
    fault::Fault,
    json::{Json, Object},
    limits,
    translate::OwnedContext,
};

use super::answer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Nothing,
    Text,
    Thinking,
    Tool(u32),
}

/// Writes events.
pub(crate) struct CallerStream {
    context: OwnedContext,
    began: bool,
    open: Open,
    index: u64,
    finish: Option<Finish>,
    refused: bool,
    usage: Usage,
}

impl CallerStream {
    pub(crate) fn new(context: OwnedContext) -> Self {
        Self {
            context,
            began: false,
            open: Open::Nothing,
            index: 0,
            finish: None,
            refused: false,
            usage: Usage::default(),
        }
    }

    pub(crate) fn write(&mut self, event: Event, out: &mut Vec<u8>) -> Result<(), Fault> {
        match event {
            Event::Usage(usage) => {
                self.usage = usage;
                return Ok(());
            }
            Event::Finished { finish, .. } => {
                self.finish = Some(finish);
                return Ok(());
            }
            Event::Failed(failure) => {
                self.failed(&failure, out);
                return Ok(());
            }
            _ => self.begin(out),
        }
        self.refused |= matches!(event, Event::Refusal { .. });
        match event {
            Event::Text { text, .. } | Event::Refusal { text, .. } => {
                self.open(Open::Text, || Object::of("text").with("text", ""), out)?;
                self.delta(Object::of("text_delta").with("text", text), out);
            }
            Event::Reasoning { text, .. } => {
                self.open(Open::Thinking, thinking, out)?;
                self.delta(Object::of("thinking_delta").with("thinking", text), out);
            }
            Event::Signature { signature, .. } => self.signature(signature, out)?,
            Event::LoneSignature { signature, .. } => {
                self.close(out);
                self.signature(signature, out)?;
            }
            Event::Redacted { data, .. } => {
                self.close(out);
                self.start(Object::of("redacted_thinking").with("data", data), out)?;
                self.stop(out);
            }
            Event::ToolBegan { tool, id, name, signature, .. } => {
                if let Some(signature) = signature {
                    self.close(out);
                    self.signature(signature, out)?;
                }
                self.close(out);
                let block =
                    Object::of("tool_use").with("id", id).with("name", name).with("input", Object::new());
                self.start(block, out)?;
                self.open = Open::Tool(tool);
            }
            Event::ToolArguments { tool, json, .. } => {
                // Blocks follow each other here: a piece of one that was closed has no place any more.
                if self.open != Open::Tool(tool) {
                    return Err(Fault::OutOfOrder);
                }
                self.delta(Object::of("input_json_delta").with("partial_json", json), out);
            }
            Event::Done => self.done(out),
            Event::Usage(_) | Event::Finished { .. } | Event::Failed(_) => {}
        }
        Ok(())
    }

    pub(crate) fn failed(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        event("error", &failure.anthropic_event(), out);
    }

    fn signature(&mut self, signature: String, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.open(Open::Thinking, thinking, out)?;
        self.delta(Object::of("signature_delta").with("signature", signature), out);
        self.close(out);
        Ok(())
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.began, true) {
            return;
        }
        // Other providers count at the end; the last event corrects it.
        let message = Object::new()
            .with("id", format!("msg_{}", self.context.request_id))
            .with("type", "message")
            .with("role", "assistant")
            .with("model", &*self.context.model)
            .with("content", Vec::new())
            .with("stop_reason", Json::Null)
            .with("stop_sequence", Json::Null)
            .with("usage", answer::usage_member(&self.usage));
        event("message_start", &Object::of("message_start").with("message", message), out);
    }

    fn open(&mut self, kind: Open, block: fn() -> Object<'static>, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.open == kind {
            return Ok(());
        }
        self.close(out);
        self.start(block(), out)?;
        self.open = kind;
        Ok(())
    }

    fn start(&mut self, block: Object<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.index >= limits::ANSWER_PIECES as u64 {
            return Err(Fault::TooLarge);
        }
        let object = Object::of("content_block_start").with("index", self.index).with("content_block", block);
        event("content_block_start", &object, out);
        Ok(())
    }

    fn delta(&self, delta: Object<'_>, out: &mut Vec<u8>) {
        let object = Object::of("content_block_delta").with("index", self.index).with("delta", delta);
        event("content_block_delta", &object, out);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.open != Open::Nothing {
            self.stop(out);
        }
    }

    fn stop(&mut self, out: &mut Vec<u8>) {
        event("content_block_stop", &Object::of("content_block_stop").with("index", self.index), out);
        self.index += 1;
        self.open = Open::Nothing;
    }

    fn done(&mut self, out: &mut Vec<u8>) {
        self.close(out);
        let finish = self.finish.take().unwrap_or(Finish::Stop);
        let (reason, sequence) = answer::stop_reason(&finish, self.refused);
        let delta = Object::new()
            .with("stop_reason", reason)
            .with("stop_sequence", sequence.map_or(Json::Null, Json::from));
        let object =
            Object::of("message_delta").with("delta", delta).with("usage", answer::usage_member(&self.usage));
        event("message_delta", &object, out);
        event("message_stop", &Object::of("message_stop"), out);
    }
}

fn thinking() -> Object<'static> {
    Object::of("thinking").with("thinking", "").with("signature", "")
}

fn event(name: &str, object: &Object<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    out.extend_from_slice(&object.to_bytes());
    out.extend_from_slice(b"\n\n");
}
