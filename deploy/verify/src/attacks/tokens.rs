//! 16: tokens, certificates and sessions that are not good here.
//!
//! Tokens: what can be forged from outside is forged here, with other signatures, algorithms and claims; what only the region's own key could sign is in [`signed`].
//! Certificates of the wrong role or time are in [`certificates`]. Sessions: nobody logs in to Bailiwick, so there are none but those of TLS, which are never
//! resumed; that is tried in [`certificates`] too.

mod certificates;
mod signed;

use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use bailiwick_domain::time::{Clock as _, SystemClock, Timestamp};
use bailiwick_proto::status::reason_of;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::{identifiers::nobody, layer};
use crate::{
    armed::{
        program::{self, Program},
        say,
    },
    attack::{Attack, Pair},
    attempt::{Attempt, Probe},
};

const EXPECTED: &str = "Unauthenticated invalid_token";
/// How much the clock here may be ahead of the control plane's.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Tokens;

#[async_trait]
impl Attack for Tokens {
    fn number(&self) -> u8 {
        16
    }

    fn name(&self) -> &'static str {
        "tokens, certificates, sessions not good here"
    }

    async fn run(&self, pair: Pair<'_>) -> Vec<Attempt> {
        let mut attempts = match &pair.target.program {
            Ok(program) => self::tokens(pair, program).await,
            Err(why) => vec![probe("tokens of any kind").not_attempted(why.as_str())],
        };
        attempts.extend(certificates::attempts(pair).await);
        attempts
    }
}

async fn tokens(pair: Pair<'_>, program: &Program) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    match Parts::of(program.token.expose_secret()) {
        Some(parts) => {
            for (what, token) in forgeries(pair, &parts) {
                attempts.push(present(probe(what), pair, &token).await);
            }
            attempts.extend(signed::attempts(pair, &parts).await);
        }
        None => {
            attempts.push(probe("forged tokens").not_attempted("the region's own token has not three parts"))
        }
    }
    attempts.push(expired(pair, program).await);
    attempts.push(revoked(pair).await);
    attempts.push(elsewhere(pair, program).await);
    attempts
}

/// A token, taken apart.
struct Parts {
    header: Value,
    claims: Value,
    signature: String,
}

impl Parts {
    fn of(token: &str) -> Option<Self> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let read = |part: &str| serde_json::from_slice(&BASE64.decode(part).ok()?).ok();
        Some(Self { header: read(header)?, claims: read(claims)?, signature: signature.to_owned() })
    }

    /// What is signed, with fields of the header and claims changed.
    fn message(&self, header: &[(&str, Value)], claims: &[(&str, Value)]) -> String {
        let with = |value: &Value, changes: &[(&str, Value)]| {
            let mut value = value.clone();
            if let Value::Object(fields) = &mut value {
                fields.extend(changes.iter().map(|(name, to)| ((*name).to_owned(), to.clone())));
            }
            BASE64.encode(value.to_string())
        };
        format!("{}.{}", with(&self.header, header), with(&self.claims, claims))
    }
}

/// Tokens that the region's own key did not sign.
fn forgeries(pair: Pair<'_>, parts: &Parts) -> Vec<(&'static str, String)> {
    let mut forged = Vec::new();
    let none = parts.message(&[("alg", json!("none"))], &[]);
    forged.push(("a token signed with `none`", format!("{none}.")));
    forged.push(("a token whose signature was taken away", format!("{}.", parts.message(&[], &[]))));
    // What of the region is public, taken for a secret.
    let public = pair.target.operator.root_fingerprint().to_string();
    let hs256 = parts.message(&[("alg", json!("HS256"))], &[]);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, public.as_bytes()), hs256.as_bytes());
    forged.push(("a token of another algorithm (HS256)", format!("{hs256}.{}", BASE64.encode(tag))));
    let other = Ed25519KeyPair::generate().ok();
    if let Some(other) = &other {
        let sign = |message: String| {
            let signature = BASE64.encode(other.sign(message.as_bytes()));
            format!("{message}.{signature}")
        };
        forged.push(("a token of another key under the region's key's name", sign(parts.message(&[], &[]))));
        let key = json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64.encode(other.public_key().as_ref())});
        forged.push(("a token that brings its key along", sign(parts.message(&[("jwk", key)], &[]))));
    }
    let claims = [
        ("a token with a longer life written into it", "exp", json!(4_000_000_000_i64)),
        ("a token with another role written into it", "role", json!("operator")),
        (
            "a token with another audience written into it",
            "aud",
            json!(format!("bailiwick-admin/{}", pair.attacker.name())),
        ),
        (
            "a token with another issuer written into it",
            "iss",
            json!(format!("spiffe://{}/control-plane", pair.attacker.domain)),
        ),
        (
            "a token with another region's organization written into it",
            "org",
            json!(pair.attacker.account.organization),
        ),
    ];
    for (what, name, to) in claims {
        let message = parts.message(&[], &[(name, to)]);
        forged.push((what, format!("{message}.{}", parts.signature)));
    }
    forged
}

/// A real token of the region, past its end.
async fn expired(pair: Pair<'_>, program: &Program) -> Attempt {
    let probe = probe("a token that has expired");
    let (token, ends) = match program::token(pair.target, &program.secret, 1).await {
        Ok(issued) => issued,
        Err(status) => return probe.not_attempted(format!("none is issued: {}", say(&status))),
    };
    let deadline = Timestamp::from_micros(ends).saturating_add(PATIENCE);
    let organization = &pair.target.account.organization;
    loop {
        let answer = program::present(pair.target, token.expose_secret(), organization).await;
        if answer.is_ok() && SystemClock.now() < deadline {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        return judge(probe, answer);
    }
}

/// A real token whose account was revoked since.
async fn revoked(pair: Pair<'_>) -> Attempt {
    let probe = probe("a token whose account was revoked since");
    let made = async {
        let (id, secret) = program::account(pair.target).await?;
        let token = program::token(pair.target, &secret, 900).await.map_err(|status| say(&status))?;
        program::revoke(pair.target, &id).await?;
        Ok::<_, String>(token.0)
    };
    match made.await {
        Ok(token) => present(probe, pair, token.expose_secret()).await,
        Err(problem) => probe.not_attempted(problem),
    }
}

/// A real token, in another organization of its own region than its own.
async fn elsewhere(pair: Pair<'_>, program: &Program) -> Attempt {
    let probe = Probe::new(
        "a token in another organization of its region",
        layer::TOKEN_ORGANIZATION,
        "NotFound not_found",
    );
    let token = program.token.expose_secret();
    let other = match program::another_organization(pair.target).await {
        Ok(Some(other)) => other,
        Ok(None) => return probe.not_attempted("the region has no other organization"),
        Err(problem) => return probe.not_attempted(problem),
    };
    match program::present(pair.target, token, &other).await {
        Err(status) if nobody(&status) => probe.unanswered(say(&status)),
        Err(status) => probe.expect(status.code() == Code::NotFound, say(&status)),
        Ok(()) => probe.expect(false, "it was answered"),
    }
}

fn probe(what: &str) -> Probe {
    Probe::new(what, layer::TOKENS, EXPECTED)
}

async fn present(probe: Probe, pair: Pair<'_>, token: &str) -> Attempt {
    let answer = program::present(pair.target, token, &pair.target.account.organization).await;
    judge(probe, answer)
}

fn judge(probe: Probe, answer: Result<(), Status>) -> Attempt {
    match answer {
        Ok(()) => probe.expect(false, "it was served"),
        Err(status) if nobody(&status) => probe.unanswered(say(&status)),
        Err(status) => {
            let documented = status.code() == Code::Unauthenticated
                && reason_of(&status).as_deref() == Some("invalid_token");
            probe.expect(documented, say(&status))
        }
    }
}
