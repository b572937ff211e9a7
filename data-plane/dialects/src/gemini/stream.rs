//! Streams: each event is an answer of its own, with what was not said before. None is marked as the last: the answer is complete when every candidate has a
//! reason for its end, and then the connection ends.

use crate::{
    Dialect,
    chat::{Event, Finish},
    failure::Failure,
    fault::Fault,
    limits,
};

use super::answer::{Body, Candidate, Said, args, call_id, finish, logprobs, own};

/// Reads events.
pub(crate) struct ProviderStream {
    dialect: Dialect,
    request_id: String,
    /// Candidates that have begun, and whether they have ended and called tools.
    candidates: Vec<(u32, State)>,
    calls: u32,
    done: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    finished: bool,
    called: bool,
}

impl ProviderStream {
    pub(crate) fn new(dialect: Dialect, request_id: String) -> Self {
        Self { dialect, request_id, candidates: Vec::new(), calls: 0, done: false }
    }

    pub(crate) fn read(&mut self, data: &[u8], out: &mut Vec<Event>) -> Result<(), Fault> {
        if data.trim_ascii().is_empty() {
            return Ok(());
        }
        let body: Body = serde_json::from_slice(data).map_err(|_| Fault::NotOfDialect)?;
        if body.error.is_some() {
            out.push(Event::Failed(Failure::read_in_stream(self.dialect, None, data)));
            return Ok(());
        }
        for candidate in body.candidates.into_iter().flatten() {
            self.candidate(candidate, out)?;
        }
        if self.candidates.is_empty()
            && body.prompt_feedback.is_some_and(|feedback| feedback.block_reason.is_some())
        {
            self.candidates.push((0, State { finished: true, called: false }));
            out.push(Event::Finished { choice: 0, finish: Finish::ContentFilter });
        }
        let is_final = self.is_complete();
        out.extend(body.usage_metadata.map(|counts| Event::Usage(counts.counted(is_final))));
        Ok(())
    }

    pub(crate) fn end(&mut self, out: &mut Vec<Event>) {
        if self.is_complete() && !self.done {
            self.done = true;
            out.push(Event::Done);
        }
    }

    fn is_complete(&self) -> bool {
        !self.candidates.is_empty() && self.candidates.iter().all(|(_, state)| state.finished)
    }

    fn candidate(&mut self, candidate: Candidate, out: &mut Vec<Event>) -> Result<(), Fault> {
        let choice = candidate.index.unwrap_or_default();
        let at = match self.candidates.iter().position(|(known, _)| *known == choice) {
            Some(at) => at,
            None if self.candidates.len() >= limits::CHOICES => return Err(Fault::TooLarge),
            None => {
                self.candidates.push((choice, State::default()));
                self.candidates.len() - 1
            }
        };
        let mut probabilities = logprobs(candidate.logprobs_result);
        let mut called = false;
        for said in candidate.content.and_then(|content| content.parts).into_iter().flatten() {
            called |= said.function_call.is_some();
            self.said(choice, said, &mut probabilities, out)?;
        }
        let Some((_, state)) = self.candidates.get_mut(at) else { return Ok(()) };
        state.called |= called;
        if let Some(reason) = candidate.finish_reason.filter(|_| !state.finished) {
            state.finished = true;
            out.push(Event::Finished { choice, finish: finish(&reason, state.called)? });
        }
        Ok(())
    }

    fn said(
        &mut self,
        choice: u32,
        said: Said,
        probabilities: &mut Vec<crate::chat::TokenLogprob>,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let text = said.text.filter(|text| !text.is_empty());
        let signature = said.thought_signature.map(|signature| own(&signature));
        if let Some(call) = said.function_call {
            let tool = self.calls;
            if tool as usize >= limits::ANSWER_PIECES {
                return Err(Fault::TooLarge);
            }
            self.calls += 1;
            let id = call_id(call.id, &self.request_id, tool);
            out.push(Event::ToolBegan { choice, tool, id, name: call.name, signature });
            out.push(Event::ToolArguments { choice, tool, json: args(call.args) });
        } else if said.thought == Some(true) {
            out.extend(text.map(|text| Event::Reasoning { choice, text }));
            out.extend(signature.map(|signature| Event::Signature { choice, signature }));
        } else {
            out.extend(signature.map(|signature| Event::LoneSignature { choice, signature }));
            let logprobs = std::mem::take(probabilities);
            out.extend(text.map(|text| Event::Text { choice, text, logprobs }));
        }
        Ok(())
    }
}
