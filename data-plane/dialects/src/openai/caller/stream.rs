//! A stream, for a caller of chat completions. Every piece goes on when it comes. Held: the text of reasoning, within
//! [`limits::HELD_BYTES`], until its signature comes, since both must come back together.

use crate::{
    chat::{Event, Usage},
    failure::Failure,
    fault::Fault,
    json::{Json, Object},
    limits,
    translate::OwnedContext,
};

use super::answer;

/// Writes chunks.
pub(crate) struct CallerStream {
    context: OwnedContext,
    include_usage: bool,
    usage: Option<Usage>,
    /// Choices that have begun.
    begun: Vec<Begun>,
    held_bytes: usize,
}

/// A choice that has begun: its role was told.
struct Begun {
    choice: u32,
    /// Reasoning that no signature has proved yet.
    reasoning: String,
    /// Details of reasoning that were told.
    details: usize,
}

impl CallerStream {
    pub(crate) fn new(context: OwnedContext, include_usage: bool) -> Self {
        Self { context, include_usage, usage: None, begun: Vec::new(), held_bytes: 0 }
    }

    /// Bytes that are held.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(crate) fn write(&mut self, event: Event, out: &mut Vec<u8>) -> Result<(), Fault> {
        if let Some(choice) = event.choice() {
            self.begin(choice, out)?;
        }
        match event {
            Event::Text { choice, text, logprobs } => {
                let delta = Object::new().with("content", text);
                self.chunk(choice, delta, answer::logprobs_member(&logprobs), Json::Null, out);
            }
            Event::Refusal { choice, text } => self.delta(choice, Object::new().with("refusal", text), out),
            Event::Reasoning { choice, text } => {
                self.hold(choice, &text, out)?;
                self.delta(choice, Object::new().with("reasoning_content", text), out);
            }
            Event::Signature { choice, signature } => {
                let text = std::mem::take(&mut self.begin(choice, out)?.reasoning);
                self.held_bytes -= text.len().min(self.held_bytes);
                self.detail(choice, |at| answer::reasoning_text(at, &text, Some(&signature)), out)?;
            }
            Event::LoneSignature { choice, signature } => {
                self.detail(choice, |at| answer::reasoning_text(at, "", Some(&signature)), out)?;
            }
            Event::Redacted { choice, data } => {
                self.detail(choice, |at| answer::reasoning_encrypted(at, &data), out)?;
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
                let function = Object::new().with("arguments", json);
                let call = Object::new().with("index", tool).with("function", function);
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
    pub(crate) fn failed(&self, failure: &Failure, out: &mut Vec<u8>) {
        data(&failure.openai_event(), out);
    }

    fn done(&self, out: &mut Vec<u8>) {
        if let (true, Some(usage)) = (self.include_usage, self.usage) {
            let chunk = self.head().with("choices", Vec::new()).with("usage", answer::usage_member(&usage));
            data(&chunk, out);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    /// What is known of a choice; its role goes before everything else of it.
    fn begin(&mut self, choice: u32, out: &mut Vec<u8>) -> Result<&mut Begun, Fault> {
        let at = match self.begun.iter().position(|begun| begun.choice == choice) {
            Some(at) => at,
            None if self.begun.len() >= limits::CHOICES => return Err(Fault::TooLarge),
            None => {
                self.begun.push(Begun { choice, reasoning: String::new(), details: 0 });
                self.delta(choice, Object::new().with("role", "assistant").with("content", ""), out);
                self.begun.len() - 1
            }
        };
        self.begun.get_mut(at).ok_or(Fault::NotOfDialect)
    }

    fn hold(&mut self, choice: u32, text: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.held_bytes = self.held_bytes.saturating_add(text.len());
        if self.held_bytes > limits::HELD_BYTES {
            return Err(Fault::TooLarge);
        }
        self.begin(choice, out)?.reasoning.push_str(text);
        Ok(())
    }

    fn detail<'a>(
        &mut self,
        choice: u32,
        detail: impl FnOnce(usize) -> Object<'a>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let begun = self.begin(choice, out)?;
        let at = begun.details;
        begun.details += 1;
        self.delta(choice, Object::new().with("reasoning_details", vec![detail(at).into()]), out);
        Ok(())
    }

    fn delta(&self, choice: u32, delta: Object<'_>, out: &mut Vec<u8>) {
        self.chunk(choice, delta, Json::Null, Json::Null, out);
    }

    fn chunk(&self, at: u32, delta: Object<'_>, logprobs: Json<'_>, finish: Json<'_>, out: &mut Vec<u8>) {
        let choice = Object::new()
            .with("index", at)
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
