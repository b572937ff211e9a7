//! `bailiwick config explain`: why a call with a key would be served or refused.
//!
//! A whole key is read here, and only its id leaves this machine.

use bailiwick_domain::{
    key::{KeyId, PresentedKey, region_of_prefix},
    region::{RegionCode, Regions},
};
use bailiwick_proto::admin::v1::ExplainKeyRequest;
use clap::Subcommand;
use secrecy::{ExposeSecret, SecretString};

use crate::{
    connection::{Connection, request},
    contexts::Context,
    failure::{Exit, Failure},
    input,
    output::{Output, Record, Value},
};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Says step by step why a call with a key would be served or refused; exit code 1 when refused
    Explain {
        /// A key's id; or - to read it, or the whole key, from standard input. Of a whole key only the id is sent
        #[arg(value_name = "KEY_ID")]
        key: SecretString,
        /// Public name of the model to call
        #[arg(long, value_name = "NAME")]
        model: Option<String>,
        /// The address that the call would come from, such as 203.0.113.7: whether organization and key allow it
        #[arg(long, value_name = "ADDRESS")]
        from: Option<String>,
    },
}

/// A step of the explanation.
#[derive(Debug)]
struct Step {
    step: String,
    passed: bool,
    finding: String,
    code: String,
}

impl ConfigCommand {
    pub(crate) async fn run(self, context: &Context, output: &Output) -> Result<Exit, Failure> {
        let Self::Explain { key, model, from } = self;
        let key = match key.expose_secret() {
            "-" => input::line()?,
            // Nobody ought to have to withdraw a key because it was asked about.
            id if !id.trim().starts_with("key_") => {
                return Err(Failure::usage(
                    "only a key's id may stand here: arguments are shown in process lists",
                )
                .hint("pipe the whole key to: bailiwick config explain -"));
            }
            _ => key,
        };
        let home = Regions::builtin().by_name(&context.region).map(|region| region.code);
        let (mut steps, id) = offline(key.expose_secret().trim(), home);
        let Some(id) = id else {
            return Ok(finish(&steps, None, output));
        };
        let message = ExplainKeyRequest {
            id: id.to_string(),
            model: model.unwrap_or_default(),
            client_address: from.unwrap_or_default(),
        };
        let answer =
            Connection::open(context).await?.keys().explain_key(request(message)).await?.into_inner();
        steps.extend(answer.steps.into_iter().map(|step| Step {
            step: step.step,
            passed: step.passed,
            finding: step.finding,
            code: step.code,
        }));
        Ok(finish(&steps, Some(answer.served), output))
    }
}

/// What can be said without the server: the key's shape, its checksum and its region. `None`: it need not be asked.
fn offline(key: &str, home: Option<RegionCode>) -> (Vec<Step>, Option<KeyId>) {
    let whole = !key.starts_with("key_");
    let parsed = if whole {
        PresentedKey::parse(key).map(|key| key.key_id()).map_err(|error| error.to_string())
    } else {
        key.parse::<KeyId>().map_err(|error| error.to_string())
    };
    let code = match &parsed {
        Ok(id) => Some(bailiwick_domain::jurisdiction::Regional::region_code(id)),
        Err(_) => region_of_prefix(key),
    };
    let shape = match &parsed {
        Ok(_) if whole => step("shape", true, "its form and its checksum are right"),
        Ok(_) => step("shape", true, "it is a key's id; the key's own checksum is not looked at"),
        Err(error) => step("shape", false, &format!("malformed: {error}")),
    };
    let region = code.map(|code| region(code, home));
    let goes_on = shape.passed && region.as_ref().is_none_or(|region| region.passed);
    (std::iter::once(shape).chain(region).collect(), parsed.ok().filter(|_| goes_on))
}

fn region(found: RegionCode, home: Option<RegionCode>) -> Step {
    let regions = Regions::builtin();
    let name = regions.by_code(found).map_or_else(|| found.to_string(), |region| region.name.to_string());
    match home {
        Some(home) if home != found => {
            let finding =
                format!("it belongs to {name}: a call succeeds there only; ask there with --region {name}");
            Step { code: "wrong_region".to_owned(), ..step("region", false, &finding) }
        }
        _ => step("region", true, &format!("it belongs to {name}")),
    }
}

fn step(name: &str, passed: bool, finding: &str) -> Step {
    let code = if passed { "" } else { "invalid_api_key" };
    Step { step: name.to_owned(), passed, finding: finding.to_owned(), code: code.to_owned() }
}

/// `served` is `None` when the server was not asked.
fn finish(steps: &[Step], served: Option<bool>, output: &Output) -> Exit {
    if output.is_json() {
        let steps: Vec<Record> = steps
            .iter()
            .map(|step| {
                Record::default()
                    .text("step", &step.step)
                    .with("passed", Value::Flag(step.passed))
                    .text("finding", &step.finding)
                    .text("code", &step.code)
            })
            .collect();
        let answer = serde_json::json!({
            "served": served.unwrap_or(false), "server_asked": served.is_some(), "steps": steps,
        });
        output.json(&answer);
    } else {
        for step in steps {
            let code = if step.code.is_empty() { String::new() } else { format!(" [{}]", step.code) };
            output.mark(Some(step.passed), &format!("{}: {}{code}", step.step, step.finding));
        }
        output.line(match served {
            Some(true) => "a worker would pass the call on",
            Some(false) => "a worker would refuse the call",
            None => "no call with it can succeed here; the control plane was not asked",
        });
    }
    if served == Some(true) { Exit::Done } else { Exit::Failed }
}

#[cfg(test)]
mod tests;
