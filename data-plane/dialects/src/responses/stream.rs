//! A stream, for a caller of responses. This dialect repeats each item, and at the end the whole output: both are held, within
//! [`limits::HELD_BYTES`].

use serde_json::value::RawValue;

use crate::{
    chat::{Event, Finish, Usage},
    failure::Failure,
    fault::Fault,
    json::{Json, Object},
    limits,
    translate::OwnedContext,
};

use super::{
    Item, REDACTED, SIGNATURE,
    answer::{part, response, status, summary_part},
};

/// Writes events.
pub(crate) struct CallerStream {
    context: OwnedContext,
    echo: Vec<(&'static str, Box<RawValue>)>,
    began: bool,
    sequence: u64,
    items: Vec<Item>,
    /// Whether the last item may grow, and for calls, which it is.
    open: Option<Option<u32>>,
    held_bytes: usize,
    finish: Option<Finish>,
    usage: Option<Usage>,
}

impl CallerStream {
    pub(crate) fn new(context: OwnedContext, echo: Vec<(&'static str, Box<RawValue>)>) -> Self {
        Self {
            context,
            echo,
            began: false,
            sequence: 0,
            items: Vec::new(),
            open: None,
            held_bytes: 0,
            finish: None,
            usage: None,
        }
    }

    /// Bytes that are held.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(crate) fn write(&mut self, event: Event, out: &mut Vec<u8>) -> Result<(), Fault> {
        if !matches!(event, Event::Failed(_)) {
            self.begin(out);
        }
        match event {
            Event::Text { text, .. } => self.said(false, text, out),
            Event::Refusal { text, .. } => self.said(true, text, out),
            Event::Reasoning { text, .. } => self.reasoned(&text, out),
            Event::Signature { signature, .. } => self.sealed(format!("{SIGNATURE}{signature}"), out),
            Event::LoneSignature { signature, .. } => {
                self.close(out);
                self.sealed(format!("{SIGNATURE}{signature}"), out)
            }
            Event::Redacted { data, .. } => {
                self.close(out);
                self.sealed(format!("{REDACTED}{data}"), out)
            }
            Event::ToolBegan { tool, id, name, signature, .. } => {
                if let Some(signature) = signature {
                    self.close(out);
                    self.sealed(format!("{SIGNATURE}{signature}"), out)?;
                }
                self.hold(id.len().saturating_add(name.len()))?;
                self.add(Item::Call { id, name, arguments: String::new() }, Some(tool), out)
            }
            Event::ToolArguments { tool, json, .. } => self.argued(tool, &json, out),
            Event::Finished { finish, .. } => {
                self.finish = Some(finish);
                Ok(())
            }
            Event::Usage(usage) => {
                self.usage = Some(usage);
                Ok(())
            }
            Event::Failed(failure) => {
                self.failed(&failure, out);
                Ok(())
            }
            Event::Done => {
                self.done(out);
                Ok(())
            }
        }
    }

    pub(crate) fn failed(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        let sequence = self.next();
        write("error", &failure.responses_event(sequence), out);
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.began, true) {
            return;
        }
        for kind in ["response.created", "response.in_progress"] {
            let sequence = self.next();
            let response = response(&self.context.borrowed(), &self.echo, None, Vec::new(), None);
            write(kind, &head(kind, sequence).with("response", response), out);
        }
    }

    fn done(&mut self, out: &mut Vec<u8>) {
        let finish = self.finish.take().unwrap_or(Finish::Stop);
        let status = status(Some(&finish));
        self.close_as(status, out);
        let kind = if status == "completed" { "response.completed" } else { "response.incomplete" };
        let sequence = self.next();
        let items = self.items.iter().enumerate();
        let output =
            items.map(|(at, item)| item.written(&self.context.request_id, at, status).into()).collect();
        let response =
            response(&self.context.borrowed(), &self.echo, Some(&finish), output, self.usage.as_ref());
        write(kind, &head(kind, sequence).with("response", response), out);
    }

    fn said(&mut self, refusal: bool, text: String, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.hold(text.len())?;
        if !matches!((self.open, self.items.last()), (Some(_), Some(Item::Message(_)))) {
            self.add(Item::Message(Vec::new()), None, out)?;
        }
        let of_kind = |items: &[Item]| match items.last() {
            Some(Item::Message(texts)) => texts.last().is_some_and(|(kind, _)| *kind == refusal),
            _ => false,
        };
        if !of_kind(&self.items) {
            self.close_part(out);
            if let Some(Item::Message(texts)) = self.items.last_mut() {
                texts.push((refusal, String::new()));
            }
            let event = self.of_part("response.content_part.added").with("part", part(refusal, ""));
            write("response.content_part.added", &event, out);
        }
        let kind = if refusal { "response.refusal.delta" } else { "response.output_text.delta" };
        let event = self.of_part(kind).with("delta", &*text);
        let event = if refusal { event } else { event.with("logprobs", Vec::new()) };
        write(kind, &event, out);
        if let Some(Item::Message(texts)) = self.items.last_mut()
            && let Some((_, held)) = texts.last_mut()
        {
            held.push_str(&text);
        }
        Ok(())
    }

    fn reasoned(&mut self, text: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.hold(text.len())?;
        if !matches!((self.open, self.items.last()), (Some(_), Some(Item::Reasoning { .. }))) {
            self.add(Item::Reasoning { text: String::new(), sealed: None }, None, out)?;
        }
        if let Some(Item::Reasoning { text: held, .. }) = self.items.last()
            && held.is_empty()
        {
            let kind = "response.reasoning_summary_part.added";
            let event = self.of_summary(kind).with("part", summary_part(""));
            write(kind, &event, out);
        }
        let kind = "response.reasoning_summary_text.delta";
        let event = self.of_summary(kind).with("delta", text);
        write(kind, &event, out);
        if let Some(Item::Reasoning { text: held, .. }) = self.items.last_mut() {
            held.push_str(text);
        }
        Ok(())
    }

    /// A signature ends the reasoning that it proves.
    fn sealed(&mut self, content: String, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.hold(content.len())?;
        if !matches!((self.open, self.items.last()), (Some(_), Some(Item::Reasoning { .. }))) {
            self.add(Item::Reasoning { text: String::new(), sealed: None }, None, out)?;
        }
        if let Some(Item::Reasoning { sealed, .. }) = self.items.last_mut() {
            *sealed = Some(content);
        }
        self.close(out);
        Ok(())
    }

    fn argued(&mut self, tool: u32, json: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.hold(json.len())?;
        // Items follow each other: a piece of one that was closed has no place any more.
        if self.open != Some(Some(tool)) {
            return Err(Fault::OutOfOrder);
        }
        let kind = "response.function_call_arguments.delta";
        let event = self.of_item(kind).with("delta", json);
        write(kind, &event, out);
        if let Some(Item::Call { arguments, .. }) = self.items.last_mut() {
            arguments.push_str(json);
        }
        Ok(())
    }

    fn hold(&mut self, bytes: usize) -> Result<(), Fault> {
        self.held_bytes = self.held_bytes.saturating_add(bytes);
        if self.held_bytes > limits::HELD_BYTES { Err(Fault::TooLarge) } else { Ok(()) }
    }

    fn add(&mut self, item: Item, tool: Option<u32>, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.close(out);
        if self.items.len() >= limits::ANSWER_PIECES {
            return Err(Fault::TooLarge);
        }
        let (kind, at, sequence) = ("response.output_item.added", self.items.len(), self.next());
        let written = item.written(&self.context.request_id, at, "in_progress");
        write(kind, &head(kind, sequence).with("output_index", at as u64).with("item", written), out);
        self.items.push(item);
        self.open = Some(tool);
        Ok(())
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        self.close_as("completed", out);
    }

    fn close_as(&mut self, status: &'static str, out: &mut Vec<u8>) {
        if self.open.is_none() {
            return;
        }
        self.close_part(out);
        self.open = None;
        let (kind, at, sequence) =
            ("response.output_item.done", self.items.len().saturating_sub(1), self.next());
        if let Some(item) = self.items.last_mut() {
            if let Item::Call { arguments, .. } = item
                && arguments.trim().is_empty()
            {
                *arguments = "{}".to_owned();
            }
            let written = item.written(&self.context.request_id, at, status);
            write(kind, &head(kind, sequence).with("output_index", at as u64).with("item", written), out);
        }
    }

    /// What is said when a part is complete: all of it once more.
    fn close_part(&mut self, out: &mut Vec<u8>) {
        let Some(item) = self.items.last() else { return };
        match item {
            Item::Message(texts) => {
                let Some((refusal, text)) = texts.last().cloned() else { return };
                let (kind, member) = if refusal {
                    ("response.refusal.done", "refusal")
                } else {
                    ("response.output_text.done", "text")
                };
                let event = self.of_part(kind).with(member, &*text);
                let event = if refusal { event } else { event.with("logprobs", Vec::new()) };
                write(kind, &event, out);
                let kind = "response.content_part.done";
                let event = self.of_part(kind).with("part", part(refusal, &text));
                write(kind, &event, out);
            }
            Item::Reasoning { text, .. } if !text.is_empty() => {
                let text = text.clone();
                let kind = "response.reasoning_summary_text.done";
                let event = self.of_summary(kind).with("text", &*text);
                write(kind, &event, out);
                let kind = "response.reasoning_summary_part.done";
                let event = self.of_summary(kind).with("part", summary_part(&text));
                write(kind, &event, out);
            }
            Item::Call { arguments, .. } => {
                let arguments = if arguments.trim().is_empty() { "{}".to_owned() } else { arguments.clone() };
                let kind = "response.function_call_arguments.done";
                let event = self.of_item(kind).with("arguments", arguments);
                write(kind, &event, out);
            }
            Item::Reasoning { .. } => {}
        }
    }

    fn of_part(&mut self, kind: &'static str) -> Object<'static> {
        let at = match self.items.last() {
            Some(Item::Message(texts)) => texts.len().saturating_sub(1),
            _ => 0,
        };
        self.of_item(kind).with("content_index", at as u64)
    }

    fn of_summary(&mut self, kind: &'static str) -> Object<'static> {
        self.of_item(kind).with("summary_index", 0_u64)
    }

    fn of_item(&mut self, kind: &'static str) -> Object<'static> {
        let at = self.items.len().saturating_sub(1);
        let id = self.items.last().map(|item| item.id(&self.context.request_id, at)).unwrap_or_default();
        head(kind, self.next()).with("item_id", id).with("output_index", at as u64)
    }

    fn next(&mut self) -> u64 {
        let sequence = self.sequence;
        self.sequence += 1;
        sequence
    }
}

fn head(kind: &'static str, sequence: u64) -> Object<'static> {
    Object::of(kind).with("sequence_number", Json::from(sequence))
}

fn write(name: &str, object: &Object<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    out.extend_from_slice(&object.to_bytes());
    out.extend_from_slice(b"\n\n");
}
