//! A stream, for a caller of chat completions. Nothing is held: every piece goes on when it comes.

use crate::{
    chat::{Event, Usage},
    failure::Failure,
    fault::Fault,
    json::{Json, Object},
    translate::OwnedContext,
};

use super::answer;

/// Writes chunks.
#[derive(Debug)]
pub(crate) struct CallerStream {
    context: OwnedContext,
    include_usage: bool,
    usage: Option<Usage>,
    /// Choices that have begun, so that the role is told once for each.
    begun: Vec<u32>,
}

impl CallerStream {
    pub(crate) fn new(context: OwnedContext, include_usage: bool) -> Self {
        Self { context, include_usage, usage: None, begun: Vec::new() }
    }

    pub(crate) fn write(&mut self, event: Event, out: &mut Vec<u8>) -> Result<(), Fault> {
        match event {
            Event::Text { choice, text, logprobs } => {
                let delta = Object::new().with("content", text);
                self.chunk(choice, delta, answer::logprobs_member(&logprobs), Json::Null, out);
            }
            Event::Refusal { choice, text } => self.delta(choice, Object::new().with("refusal", text), out),
            Event::Reasoning { choice, text } => {
                self.delta(choice, Object::new().with("reasoning_content", text), out);
            }
            Event::Signature { choice, signature } => {
                let detail = answer::reasoning_text("", Some(&signature)).into();
                self.delta(choice, Object::new().with("reasoning_details", vec![detail]), out);
            }
            Event::Redacted { choice, data } => {
                let detail = answer::reasoning_encrypted(&data).into();
                self.delta(choice, Object::new().with("reasoning_details", vec![detail]), out);
            }
            Event::ToolBegan { choice, tool, id, name, signature } => {
                let function = Object::new().with("name", name).with("arguments", "");
                let call = Object::new()
                    .with("index", tool)
                    .with("id", id)
                    .with("type", "function")
                    .with("function", function)
                    .maybe("extra_content", signature.as_deref().map(answer::extra_content));
                self.delta(choice, Object::new().with("tool_calls", vec![call.into()]), out);
            }
            Event::ToolArguments { choice, tool, json } => {
                let call =
                    Object::new().with("index", tool).with("function", Object::new().with("arguments", json));
                self.delta(choice, Object::new().with("tool_calls", vec![call.into()]), out);
            }
            Event::Finished { choice, finish } => {
                let word = answer::finish_word(&finish);
                self.chunk(choice, Object::new(), Json::Null, word.into(), out);
            }
            Event::Usage(usage) => self.usage = Some(usage),
            Event::Failed(failure) => self.failed(&failure, out),
            Event::Done => self.done(out),
        }
        Ok(())
    }

    /// An error in the middle, as OpenAI sends it; SDKs raise it.
    pub(crate) fn failed(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        data(&failure.openai_event(), out);
    }

    fn done(&mut self, out: &mut Vec<u8>) {
        if let (true, Some(usage)) = (self.include_usage, self.usage) {
            let chunk = self.head().with("choices", Vec::new()).with("usage", answer::usage_member(&usage));
            data(&chunk, out);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn delta(&mut self, choice: u32, delta: Object<'_>, out: &mut Vec<u8>) {
        self.chunk(choice, delta, Json::Null, Json::Null, out);
    }

    fn chunk(
        &mut self,
        index: u32,
        delta: Object<'_>,
        logprobs: Json<'_>,
        finish: Json<'_>,
        out: &mut Vec<u8>,
    ) {
        if !self.begun.contains(&index) {
            self.begun.push(index);
            let role = Object::new().with("role", "assistant").with("content", "");
            self.chunk(index, role, Json::Null, Json::Null, out);
        }
        let choice = Object::new()
            .with("index", index)
            .with("delta", delta)
            .with("logprobs", logprobs)
            .with("finish_reason", finish);
        let chunk = self.head().with("choices", vec![choice.into()]);
        let chunk = if self.include_usage { chunk.with("usage", Json::Null) } else { chunk };
        data(&chunk, out);
    }

    fn head(&self) -> Object<'_> {
        Object::new()
            .with("id", format!("chatcmpl-{}", self.context.request_id))
            .with("object", "chat.completion.chunk")
            .with("created", self.context.created)
            .with("model", &*self.context.model)
    }
}

fn data(object: &Object<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(&object.to_bytes());
    out.extend_from_slice(b"\n\n");
}
