//! 2: a foreign identifier in every field that takes one, of every method of the admin API.
//!
//! The methods come from the contract's descriptors, so one that is added tomorrow is attacked tomorrow. What kind of identifier a field wants
//! is guessed from its name first; a guess that does not parse there is followed by the other kinds.

use async_trait::async_trait;
use bailiwick_proto::{
    raw::{self, Method, TextField},
    status::{metadata_of, reason_of, violations_of},
};
use tonic::{Code, Status};

use super::layer;
use crate::{
    armed::{TIMEOUT, once, organization, say},
    attack::{Attack, Pair},
    attempt::{Attempt, Probe},
};

/// What identifiers start with.
const KINDS: [&str; 10] = ["rot", "org", "key", "cred", "mdl", "dep", "wrk", "aud", "svc", "mem"];

pub(super) struct Identifiers;

#[async_trait]
impl Attack for Identifiers {
    fn number(&self) -> u8 {
        2
    }

    fn name(&self) -> &'static str {
        "a foreign identifier in the admin API"
    }

    async fn run(&self, pair: Pair<'_>) -> Vec<Attempt> {
        let methods = match raw::methods(|service| service.starts_with("bailiwick.admin.")) {
            Ok(methods) => methods,
            Err(error) => {
                let probe = Probe::new("every method", layer::ADMIN_EDGE, "wrong_region");
                return vec![probe.not_attempted(error.to_string())];
            }
        };
        let mut attempts = Vec::new();
        for method in &methods {
            for field in method.fields.iter().filter(|field| field.names_a_region()) {
                attempts.push(attack(pair, method, field).await);
            }
        }
        attempts
    }
}

async fn attack(pair: Pair<'_>, method: &Method, field: &TextField) -> Attempt {
    let place = method.path.rsplit_once('.').map_or(method.path.as_str(), |(_package, place)| place);
    let what = format!("{} of the other region in {place}", field.name);
    let probe = Probe::new(what, layer::ADMIN_EDGE, "FailedPrecondition wrong_region, naming its home");
    let mut last = None;
    for kind in kinds(method, field) {
        let message = raw::message(method.fields.iter().map(|other| {
            let text = if other == field { text(pair, kind) } else { fitting(pair, method, other) };
            (other, text)
        }));
        let called = raw::call(pair.target.admin.clone(), &method.path, message);
        let answer = match tokio::time::timeout(TIMEOUT, called).await {
            Ok(answer) => answer,
            Err(_elapsed) => return probe.unanswered("no answer in time"),
        };
        match answer {
            Ok(_) => return probe.expect(false, "it was answered as if it were of this region"),
            Err(status) if is_of_another_kind(&status, field) => last = Some(status),
            Err(status) if nobody(&status) => return probe.unanswered(say(&status)),
            Err(status) => return probe.expect(is_refusal(&status, pair), say(&status)),
        }
    }
    let said = last.map_or_else(|| "nothing was tried".to_owned(), |status| say(&status));
    probe.expect(false, format!("no known kind of identifier is one here: {said}"))
}

fn is_refusal(status: &Status, pair: Pair<'_>) -> bool {
    status.code() == Code::FailedPrecondition
        && reason_of(status).as_deref() == Some("wrong_region")
        && metadata_of(status, "region").as_deref() == Some(pair.attacker.name())
}

/// The field wants an identifier of another kind.
fn is_of_another_kind(status: &Status, field: &TextField) -> bool {
    status.code() == Code::InvalidArgument
        && violations_of(status).iter().any(|violation| {
            let leaf = violation.field.rsplit('.').next().unwrap_or_default();
            leaf.split('[').next() == Some(field.name.as_str())
        })
}

/// The transport failed, not the request.
pub(super) fn nobody(status: &Status) -> bool {
    reason_of(status).is_none()
        && matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled)
}

/// Kinds to try in a field, the likeliest first. Empty: the region's name.
fn kinds(method: &Method, field: &TextField) -> Vec<&'static str> {
    if field.name == "region" {
        return vec![""];
    }
    let guess = guess(method, field);
    let rest = KINDS.into_iter().filter(|kind| Some(*kind) != guess);
    guess.into_iter().chain(rest).collect()
}

fn guess(method: &Method, field: &TextField) -> Option<&'static str> {
    let named = |text: &str| {
        let known = [
            ("organization", "org"),
            ("service_account", "svc"),
            ("serviceaccount", "svc"),
            ("credential", "cred"),
            ("deployment", "dep"),
            ("model", "mdl"),
            ("worker", "wrk"),
            ("member", "mem"),
            ("key", "key"),
        ];
        known.into_iter().find(|(word, _)| text.contains(word)).map(|(_, kind)| kind)
    };
    match field.name.as_str() {
        "id" => named(&method.name.to_ascii_lowercase()),
        name => named(name),
    }
}

/// The foreign text.
fn text(pair: Pair<'_>, kind: &str) -> String {
    if kind.is_empty() { pair.attacker.name().to_owned() } else { pair.attacker.identifier(kind) }
}

/// What the other fields hold, so that nothing but the foreign one is wrong. Identifiers are of this run's own things or of nothing: even a call that
/// was let through harms nobody.
fn fitting(pair: Pair<'_>, method: &Method, field: &TextField) -> String {
    match field.name.as_str() {
        "region" => pair.target.name().to_owned(),
        "idempotency_key" => once(),
        "contact_email" | "email" => "verify-isolation@example.com".to_owned(),
        "name" if method.name == "CreateJoinToken" => pair.target.run.clone(),
        "name" | "organization_name" => organization(&pair.target.run),
        "secret" => "none".to_owned(),
        "hosts" => "api.openai.com".to_owned(),
        "allowed_ranges" | "ranges" => "203.0.113.0/24".to_owned(),
        "measure" => "requests_per_minute".to_owned(),
        "provider" => "openai_compatible".to_owned(),
        "endpoint" => "https://verify-isolation.invalid/v1".to_owned(),
        "upstream_model" | "model" | "allowed_models" => "verify-isolation".to_owned(),
        "role" if method.name.contains("ServiceAccount") => "member".to_owned(),
        "role" => "worker".to_owned(),
        _ if field.names_a_region() => {
            guess(method, field).map(|kind| pair.target.identifier(kind)).unwrap_or_default()
        }
        _ => String::new(),
    }
}
