//! Streams: a provider's events go in as they come, the caller's come out at once.
//!
//! An event is a name and data, as whoever cuts the provider's bytes finds them: the worker's own reader of server-sent events, or [`crate::bedrock::Frames`].
//! Nothing is held but what the caller's dialect tells late: why the answer ended; for chat completions, reasoning until its signature comes; and for responses,
//! whose last event repeats the answer, all of it: [`limits::HELD_BYTES`] at most.

use crate::{
    Caller, Dialect, anthropic, bedrock,
    chat::{Event, Finish, Usage},
    failure::{Class, Failure},
    fault::Fault,
    gemini, limits, openai, responses,
    translate::{Context, OwnedContext, Reply},
};

/// How far a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More is to come.
    Going,
    /// The answer is complete, and the caller has its last event. What comes behind it is ignored.
    Done,
    /// The provider's own error, which the caller has been told.
    Failed(Class),
    /// The provider sent what it should not, or broke off. The caller has been told.
    Broken(Fault),
}

/// Translates one stream.
pub struct StreamTranslator {
    dialect: Dialect,
    provider: Provider,
    caller: Writer,
    progress: Progress,
    usage: Option<Usage>,
    pieces: u64,
    refused: bool,
    events: Vec<Event>,
}

enum Provider {
    OpenAi(openai::ProviderStream),
    Anthropic(anthropic::ProviderStream),
    Gemini(gemini::ProviderStream),
    Bedrock(bedrock::ProviderStream),
}

enum Writer {
    Chat(openai::CallerStream),
    Responses(Box<responses::CallerStream>),
    Messages(anthropic::CallerStream),
}

impl StreamTranslator {
    pub(crate) fn new(reply: &Reply, context: &Context<'_>) -> Self {
        let request_id = context.request_id.to_owned();
        let context = OwnedContext::from(*context);
        let dialect = reply.provider;
        let provider = match dialect {
            Dialect::OpenAi | Dialect::OpenAiCompatible | Dialect::AzureOpenAi => {
                Provider::OpenAi(openai::ProviderStream::default())
            }
            Dialect::Anthropic => Provider::Anthropic(anthropic::ProviderStream::default()),
            Dialect::Gemini | Dialect::Vertex => {
                Provider::Gemini(gemini::ProviderStream::new(dialect, request_id))
            }
            Dialect::Bedrock => Provider::Bedrock(bedrock::ProviderStream::default()),
        };
        let caller = match reply.caller {
            Caller::Chat => Writer::Chat(openai::CallerStream::new(context, reply.include_usage)),
            Caller::Responses => {
                Writer::Responses(Box::new(responses::CallerStream::new(context, reply.echo.clone())))
            }
            Caller::Messages => Writer::Messages(anthropic::CallerStream::new(context)),
        };
        Self {
            dialect,
            provider,
            caller,
            progress: Progress::Going,
            usage: None,
            pieces: 0,
            refused: false,
            events: Vec::new(),
        }
    }

    /// One event of the provider's: its data, and for Bedrock its name (data of server-sent events tell themselves what they are, so there it may be empty). What the
    /// caller gets is put behind what `out` holds.
    pub fn event(&mut self, name: &str, data: &[u8], out: &mut Vec<u8>) -> Progress {
        if self.progress != Progress::Going {
            return self.progress;
        }
        let read = if data.len() > limits::EVENT_BYTES {
            Err(Fault::TooLarge)
        } else {
            match &mut self.provider {
                Provider::OpenAi(stream) => stream.read(self.dialect, data, &mut self.events),
                Provider::Anthropic(stream) => stream.read(data, &mut self.events),
                Provider::Gemini(stream) => stream.read(data, &mut self.events),
                Provider::Bedrock(stream) => stream.read(name, data, &mut self.events),
            }
        };
        // What was read before the fault still goes on.
        self.write(out);
        if let Err(fault) = read {
            self.break_off(fault, out);
        }
        self.progress
    }

    /// The provider's body has ended. `delimited`: it said itself where it ends, and ended there. Otherwise, only what the dialect marks as the end is one.
    pub fn end(&mut self, delimited: bool, out: &mut Vec<u8>) -> Progress {
        if self.progress == Progress::Going && delimited {
            match &mut self.provider {
                Provider::OpenAi(stream) => stream.end(&mut self.events),
                Provider::Gemini(stream) => stream.end(&mut self.events),
                Provider::Bedrock(stream) => stream.end(&mut self.events),
                Provider::Anthropic(_) => {}
            }
            self.write(out);
        }
        if self.progress == Progress::Going {
            self.break_off(Fault::NotOfDialect, out);
        }
        self.progress
    }

    /// Ends the stream with an error that is not the provider's own: it took too long, or its connection broke.
    pub fn fail(&mut self, class: Class, out: &mut Vec<u8>) -> Progress {
        if self.progress == Progress::Going {
            self.tell(&Failure::of(class), out);
            self.progress = Progress::Failed(class);
        }
        self.progress
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// What the provider has told of tokens so far.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// Bytes of the answer that it holds: those that the caller's dialect tells late, and what names the provider's calls.
    pub fn held_bytes(&self) -> usize {
        let of_provider = match &self.provider {
            Provider::OpenAi(stream) => stream.held_bytes(),
            Provider::Anthropic(_) | Provider::Gemini(_) | Provider::Bedrock(_) => 0,
        };
        let of_caller = match &self.caller {
            Writer::Chat(stream) => stream.held_bytes(),
            Writer::Responses(stream) => stream.held_bytes(),
            Writer::Messages(_) => 0,
        };
        of_provider.saturating_add(of_caller)
    }

    /// Pieces of the answer so far: each holds a token or more.
    pub fn pieces(&self) -> u64 {
        self.pieces
    }

    /// Whether the provider's policy ended it before anything was said.
    pub fn is_refused_by_policy(&self) -> bool {
        self.refused && self.pieces == 0
    }

    fn write(&mut self, out: &mut Vec<u8>) {
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            if self.progress != Progress::Going {
                break;
            }
            self.note(&event);
            let done = match &event {
                Event::Done => Some(Progress::Done),
                Event::Failed(failure) => Some(Progress::Failed(failure.class)),
                _ => None,
            };
            let written = match &mut self.caller {
                Writer::Chat(stream) => stream.write(event, out),
                Writer::Responses(stream) => stream.write(event, out),
                Writer::Messages(stream) => stream.write(event, out),
            };
            match (written, done) {
                (Err(fault), _) => self.break_off(fault, out),
                (Ok(()), Some(progress)) => self.progress = progress,
                (Ok(()), None) => {}
            }
        }
        events.clear();
        self.events = events;
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Finished { finish, .. } => self.refused = *finish == Finish::ContentFilter,
            Event::Text { .. }
            | Event::Refusal { .. }
            | Event::Reasoning { .. }
            | Event::ToolArguments { .. } => {
                self.pieces += 1;
            }
            _ => {}
        }
    }

    fn break_off(&mut self, fault: Fault, out: &mut Vec<u8>) {
        self.tell(&Failure::from(fault), out);
        self.progress = Progress::Broken(fault);
    }

    fn tell(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        match &mut self.caller {
            Writer::Chat(stream) => stream.failed(failure, out),
            Writer::Responses(stream) => stream.failed(failure, out),
            Writer::Messages(stream) => stream.failed(failure, out),
        }
    }
}
