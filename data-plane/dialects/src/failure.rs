//! A provider's error: of which class it is, and how the caller's dialect says it.
//!
//! A provider's own text goes on only where it concerns the caller's request. What it says of the organization's credential, of its account, or of its insides
//! stays here.

mod class;
mod reading;

use crate::{
    Call, Fault, Refused,
    json::{Json, Object},
};

pub use class::Class;

/// A provider's error.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure {
    /// Of which class.
    pub class: Class,
    /// The provider's text, where it concerns the caller.
    message: Option<String>,
    /// The field it concerns, where the provider names one.
    param: Option<String>,
}

impl Failure {
    /// Of a class, in our own words.
    pub fn of(class: Class) -> Self {
        Self { class, message: None, param: None }
    }

    fn message(&self) -> &str {
        self.message.as_deref().unwrap_or_else(|| self.class.own_message())
    }

    /// Status and body for the caller of `call`.
    pub fn answer(&self, call: Call, request_id: &str) -> (u16, Vec<u8>) {
        if call.is_anthropic() {
            let body = anthropic_error(self.class.anthropic(), self.message(), Some(request_id));
            return (self.class.anthropic_status(), body.to_bytes());
        }
        let (code, kind) = self.class.openai();
        (self.class.status(), openai_error(self.message(), kind, self.param.as_deref(), code).to_bytes())
    }

    pub(crate) fn openai_event(&self) -> Object<'_> {
        let (code, kind) = self.class.openai();
        openai_error(self.message(), kind, self.param.as_deref(), code)
    }

    pub(crate) fn responses_event(&self, sequence: u64) -> Object<'_> {
        let (code, _) = self.class.openai();
        Object::of("error")
            .with("sequence_number", sequence)
            .with("code", code)
            .with("message", self.message())
            .with("param", Json::Null)
    }

    pub(crate) fn anthropic_event(&self) -> Object<'_> {
        anthropic_error(self.class.anthropic(), self.message(), None)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NotOfDialect | Fault::Malformed | Fault::OutOfOrder | Fault::TooLarge => {
                Self::of(Class::InvalidAnswer)
            }
        }
    }
}

impl Refused {
    /// Status and body for the caller of `call`.
    pub fn answer(&self, call: Call, request_id: &str) -> (u16, Vec<u8>) {
        let message = self.to_string();
        let body = if call.is_anthropic() {
            anthropic_error("invalid_request_error", &message, Some(request_id)).to_bytes()
        } else {
            openai_error(&message, "invalid_request_error", Some(self.refusal.field()), self.code())
                .to_bytes()
        };
        (400, body)
    }
}

fn openai_error<'a>(message: &'a str, kind: &'a str, param: Option<&'a str>, code: &'a str) -> Object<'a> {
    let inner = Object::new()
        .with("message", message)
        .with("type", kind)
        .with("param", param.map_or(Json::Null, Json::from))
        .with("code", code);
    Object::new().with("error", inner)
}

fn anthropic_error<'a>(kind: &'a str, message: &'a str, request_id: Option<&'a str>) -> Object<'a> {
    let inner = Object::new().with("type", kind).with("message", message);
    Object::of("error").with("error", inner).maybe("request_id", request_id)
}
