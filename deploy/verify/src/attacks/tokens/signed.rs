//! Tokens that the region's own key signed, though something is wrong with them: it is not their signature that refuses them. The region's program signs
//! them, where it is on this machine and was built for development; what operators run has no way to.
//!
//! One of them has nothing wrong. It has to be served, or the refusal of the others proves nothing.

use bailiwick_domain::time::{Clock as _, SystemClock};
use serde_json::{Value, json};

use super::{Pair, Parts, judge, probe};
use crate::{
    access::State,
    armed::{Armed, program, say},
    attacks::layer,
    attempt::{Attempt, Probe},
    store_copy::{complaint, run},
};

const MICROS: i64 = 1_000_000;
/// As long as a token may live.
const LIFE_SECONDS: i64 = 900;
const RELEASE: &str =
    "the region's program was built for operators: it signs only what service accounts ask for";

/// What is wrong with a token, and what of it is signed.
type Case = (&'static str, String);

pub(super) async fn attempts(pair: Pair<'_>, parts: &Parts) -> Vec<Attempt> {
    let control = Probe::new("a token of the region's own key, with nothing wrong", layer::TOKENS, "served");
    let mut cases = cases(pair, parts);
    let mut attempts = Vec::new();
    match revoked(pair.target, parts).await {
        Ok(case) => cases.push(case),
        Err(why) => attempts.push(probe(REVOKED).not_attempted(why)),
    }
    let tokens = match sign(pair.target, parts.message(&[], &[]), &cases).await {
        Ok(tokens) => tokens,
        Err(why) => {
            attempts.push(control.not_attempted(why.as_str()));
            attempts.extend(cases.iter().map(|(what, _)| probe(what).not_attempted(why.as_str())));
            return attempts;
        }
    };
    let organization = &pair.target.account.organization;
    let served = match program::present(pair.target, &tokens.good, organization).await {
        Ok(()) => Ok(()),
        Err(status) => Err(format!("with nothing wrong it is not served either: {}", say(&status))),
    };
    attempts.push(match &served {
        Ok(()) => control.expect(true, "served"),
        Err(why) => control.unanswered(why.as_str()),
    });
    for ((what, _), token) in cases.iter().zip(&tokens.wrong) {
        let probe = probe(what);
        attempts.push(match &served {
            Ok(()) => judge(probe, program::present(pair.target, token, organization).await),
            Err(why) => probe.unanswered(why.as_str()),
        });
    }
    attempts
}

fn cases(pair: Pair<'_>, parts: &Parts) -> Vec<Case> {
    let (target, attacker) = (pair.target, pair.attacker);
    let now = SystemClock.now().as_micros().div_euclid(MICROS);
    let times = |iat: i64, nbf: i64, exp: i64| {
        parts.message(&[], &[("iat", json!(now + iat)), ("nbf", json!(now + nbf)), ("exp", json!(now + exp))])
    };
    let claim = |name: &str, to: Value| parts.message(&[], &[(name, to)]);
    let header = |name: &str, to: Value| parts.message(&[(name, to)], &[]);
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    vec![
        ("well signed, a token that is over", times(-LIFE_SECONDS, -LIFE_SECONDS, -60)),
        ("well signed, a token that is not valid yet", times(0, 300, LIFE_SECONDS)),
        ("well signed, a token that was made in the future", times(300, 0, LIFE_SECONDS)),
        ("well signed, a token that lives too long", times(0, 0, 24 * 3600)),
        ("well signed, a token without an end", claim("exp", Value::Null)),
        (
            "well signed, a token for the other region's audience",
            claim("aud", json!(format!("bailiwick-admin/{}", attacker.name()))),
        ),
        (
            "well signed, a token for the audience of another service",
            claim("aud", json!(format!("bailiwick-worker/{}", target.name()))),
        ),
        (
            "well signed, a token by the other region's issuer",
            claim("iss", json!(format!("spiffe://{}/control-plane", attacker.domain))),
        ),
        (
            "well signed, a token by a worker as its issuer",
            claim("iss", json!(format!("spiffe://{}/worker", target.domain))),
        ),
        (
            "well signed, a token that names a key that the region has not",
            header("kid", json!(target.minted("tkey"))),
        ),
        ("well signed, a token that brings a key along in its header", header("jwk", jwk)),
        ("well signed, a token whose header says `none`", header("alg", json!("none"))),
        ("well signed, a token whose header says another algorithm (ES256)", header("alg", json!("ES256"))),
        ("well signed, a token with the other role of an account", claim("role", json!("member"))),
        (
            "well signed, a token of the other region's organization",
            claim("org", json!(attacker.account.organization)),
        ),
        ("well signed, a token of an account that is not there", claim("sub", json!(target.minted("svc")))),
        ("well signed, a token of a secret that was replaced", claim("ver", json!(1_000_000))),
    ]
}

const REVOKED: &str = "well signed, a token that was made for an account after its revocation";

/// All that it says is so, but that its account is revoked.
async fn revoked(target: &Armed, parts: &Parts) -> Result<Case, String> {
    let (id, _secret) = program::account(target).await?;
    program::revoke(target, &id).await?;
    Ok((REVOKED, parts.message(&[], &[("sub", json!(id))])))
}

struct Signed {
    good: String,
    wrong: Vec<String>,
}

/// The error says why nothing is signed.
async fn sign(target: &Armed, good: String, cases: &[Case]) -> Result<Signed, String> {
    let state: &State =
        target.access.state.as_ref().ok_or("the region's programs are not on this machine")?;
    let messages = cases.iter().map(|(_, message)| message.as_str());
    let arguments: Vec<&str> = ["sign-tokens", &good].into_iter().chain(messages).collect();
    let output = run(state, &arguments, &[]).await?;
    if !output.status.success() {
        let is_release = String::from_utf8_lossy(&output.stderr).contains("unrecognized subcommand");
        return Err(if is_release { RELEASE.to_owned() } else { complaint(&output) });
    }
    let text = String::from_utf8(output.stdout).map_err(|_| "the region's program printed no text")?;
    let mut tokens = text.lines().map(str::to_owned);
    let good = tokens.next().ok_or("the region's program printed nothing")?;
    let wrong: Vec<String> = tokens.collect();
    if wrong.len() != cases.len() {
        return Err("the region's program printed too few tokens".to_owned());
    }
    Ok(Signed { good, wrong })
}
