//! A caller of chat completions, for providers that speak something else.

mod answer;
mod parts;
mod request;
mod stream;

pub(crate) use answer::write;
pub(crate) use parts::{cache_point, detail, source};
pub(crate) use request::{
    decode, effort, end_user, function, json_schema, only, tool_choice_word, without_account_effect,
};
pub(crate) use stream::CallerStream;
