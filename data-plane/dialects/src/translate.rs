//! The way through: a caller's request becomes a provider's, and the provider's answer the caller's.

use serde_json::value::RawValue;

use crate::{
    Caller, Dialect, Outgoing, Refused, StreamTranslator, Target, anthropic, bedrock,
    chat::{Answer, Finish, Part, Request, Usage},
    fault::Fault,
    gemini, openai, responses,
};

/// What an answer says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Names the call; letters, digits, `_` and `-`.
    pub request_id: &'a str,
    /// The public name of the model.
    pub model: &'a str,
    /// When the call was admitted: seconds since the epoch.
    pub created: u64,
}

/// The same, kept for a stream.
#[derive(Clone, Debug)]
pub(crate) struct OwnedContext {
    pub(crate) request_id: String,
    pub(crate) model: String,
    pub(crate) created: u64,
}

impl OwnedContext {
    pub(crate) fn borrowed(&self) -> Context<'_> {
        Context { request_id: &self.request_id, model: &self.model, created: self.created }
    }
}

impl From<Context<'_>> for OwnedContext {
    fn from(context: Context<'_>) -> Self {
        Self {
            request_id: context.request_id.to_owned(),
            model: context.model.to_owned(),
            created: context.created,
        }
    }
}

/// How the answer to a translated request is to be written.
#[derive(Clone)]
pub struct Reply {
    pub(crate) caller: Caller,
    pub(crate) provider: Dialect,
    pub(crate) include_usage: bool,
    pub(crate) echo: Vec<(&'static str, Box<RawValue>)>,
    /// Whether the answer comes as a stream.
    pub stream: bool,
}

/// Translates a request. It can be done for one deployment after another: a fallback starts with the caller's own body again.
///
/// Errors: the request is wrong, or asks for what the provider cannot do.
pub fn translate_request<'a>(
    caller: Caller,
    body: &[u8],
    target: &Target<'a>,
) -> Result<(Outgoing<'a>, Reply), Refused> {
    let request = decode(caller, body).map_err(|refusal| refusal.by(target.dialect))?;
    let encoded = encode(&request, target).map_err(|refusal| refusal.by(target.dialect))?;
    let outgoing = Outgoing {
        method: "POST",
        path_and_query: target.path(caller.call(), request.stream)?,
        headers: target.headers(request.stream),
        authentication: target.authentication(),
        body: encoded,
    };
    let reply = Reply {
        caller,
        provider: target.dialect,
        include_usage: request.include_usage,
        echo: if caller == Caller::Responses { responses::echo(body) } else { Vec::new() },
        stream: request.stream,
    };
    Ok((outgoing, reply))
}

/// Reads a caller's request into the form between the dialects.
pub(crate) fn decode(caller: Caller, body: &[u8]) -> Result<Request<'_>, crate::Refusal> {
    match caller {
        Caller::Chat => openai::decode(body),
        Caller::Responses => responses::decode(body),
        Caller::Messages => anthropic::decode(body),
    }
}

pub(crate) fn encode(request: &Request<'_>, target: &Target<'_>) -> Result<Vec<u8>, crate::Refusal> {
    match target.dialect {
        Dialect::OpenAi | Dialect::OpenAiCompatible | Dialect::AzureOpenAi => {
            openai::encode(request, target.dialect, target.model)
        }
        Dialect::Anthropic => anthropic::encode(request, target.model, target.default_max_tokens),
        Dialect::Gemini | Dialect::Vertex => gemini::encode(request),
        Dialect::Bedrock => bedrock::encode(request, target.model),
    }
}

/// A translated answer.
pub struct Translated {
    /// JSON, for the caller.
    pub body: Vec<u8>,
    /// What it cost. `None`: the provider did not tell.
    pub usage: Option<Usage>,
    /// Whether the provider's policy ended it before anything was said: as good as an error of the class `ContentPolicy`, for fallbacks.
    pub refused_by_policy: bool,
}

impl Reply {
    /// Translates a whole, successful answer.
    pub fn translate_answer(&self, body: &[u8], context: &Context<'_>) -> Result<Translated, Fault> {
        let answer = self.read(body, context)?;
        let body = match self.caller {
            Caller::Chat => openai::write(&answer, context)?,
            Caller::Responses => responses::write(&answer, context, &self.echo)?,
            Caller::Messages => anthropic::write(&answer, context)?,
        };
        Ok(Translated { body, usage: answer.usage, refused_by_policy: refused_by_policy(&answer) })
    }

    /// Begins to translate a stream.
    pub fn translate_stream(&self, context: &Context<'_>) -> StreamTranslator {
        StreamTranslator::new(self, context)
    }

    fn read(&self, body: &[u8], context: &Context<'_>) -> Result<Answer, Fault> {
        match self.provider {
            Dialect::OpenAi | Dialect::OpenAiCompatible | Dialect::AzureOpenAi => openai::read_answer(body),
            Dialect::Anthropic => anthropic::read_answer(body),
            Dialect::Gemini | Dialect::Vertex => gemini::read_answer(body, context.request_id),
            Dialect::Bedrock => bedrock::read_answer(body),
        }
    }
}

fn refused_by_policy(answer: &Answer) -> bool {
    answer.choices.iter().all(|choice| {
        let said = choice.parts.iter().any(|part| matches!(part, Part::Text(_) | Part::ToolCall(_)));
        choice.finish == Finish::ContentFilter && !said
    })
}
