//! `GET /v1/models` and `/v1/models/{id}`: the models that the caller's key may use
//! (<https://platform.openai.com/docs/api-reference/models>).

use bailiwick_runtime::serving::{ApiError, ResponseBody};
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use serde::Serialize;

use crate::{
    authentication::Authenticated,
    error,
    snapshot::{ModelEntry, Snapshot},
};

/// What SDKs may escape of a model's name, whose other characters need no escape (RFC 3986, section 2.3).
const ESCAPED: [(&str, &str); 7] =
    [("%2F", "/"), ("%2f", "/"), ("%3A", ":"), ("%3a", ":"), ("%40", "@"), ("%2B", "+"), ("%2b", "+")];

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
}

#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    /// Seconds since the Unix epoch.
    created: i64,
    owned_by: String,
}

impl<'a> Model<'a> {
    fn of(entry: &'a ModelEntry) -> Self {
        Self {
            id: entry.name.as_str(),
            object: "model",
            created: entry.created_at.as_micros() / 1_000_000,
            owned_by: entry.organization.to_string(),
        }
    }
}

pub(crate) fn list(snapshot: &Snapshot, caller: &Authenticated) -> Response<ResponseBody> {
    let key = caller.key();
    let models = snapshot.models_of(&key.organization).filter(|model| key.allows(model.name.as_str()));
    json(&List { object: "list", data: models.map(|model| Model::of(model)).collect() })
}

/// A model that the key may not use does not exist for it.
pub(crate) fn one(
    snapshot: &Snapshot,
    caller: &Authenticated,
    name: &str,
) -> Result<Response<ResponseBody>, ApiError> {
    let key = caller.key();
    let name = ESCAPED.iter().fold(name.to_owned(), |name, (escaped, plain)| name.replace(escaped, plain));
    let found = snapshot.model(&key.organization, &name).filter(|_| key.allows(&name));
    Ok(json(&Model::of(found.ok_or_else(error::model_not_found)?)))
}

fn json(value: &impl Serialize) -> Response<ResponseBody> {
    let mut response =
        Response::new(ResponseBody::from(Bytes::from(serde_json::to_vec(value).unwrap_or_default())));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
