//! `bailiwick limit`.

use bailiwick_domain::money::NanoUsd;
use bailiwick_proto::{
    admin::v1::{
        CreateLimitRequest, DeleteLimitRequest, GetLimitUsageRequest, Limit, LimitUsage, ListLimitsRequest,
        ListModelsRequest, UpdateLimitRequest,
    },
    config::v1::{
        LimitedDeployments, LimitedKeys, LimitedModels, limited_deployments, limited_keys, limited_models,
    },
};
use clap::{ArgGroup, Args, Subcommand};

use crate::{
    connection::{Connection, EVERYTHING, idempotency_key, pages, request, revision},
    failure::Failure,
    input::Consent,
    output::{Output, Record, Value},
};

#[derive(Debug, Subcommand)]
pub(crate) enum LimitCommand {
    /// Limits what an organization's calls may use, over all workers of the region together. A call that several limits are about needs room in each
    Create {
        #[arg(long, value_name = "ID")]
        org: String,
        #[command(flatten)]
        amount: Amount,
        /// For calls with this key; `each`: every key by itself. Without it, all keys together. A key that is rotated gives its limits to its successor
        #[arg(long, value_name = "ID|each")]
        key: Option<String>,
        /// For calls of this model; `each`: every model by itself. Without it, all models together
        #[arg(long, value_name = "NAME|ID|each")]
        model: Option<String>,
        /// For calls that are sent to this deployment; `each`: every deployment by itself. Where it is used up, calls go to the model's next deployment, and are refused where there is none
        #[arg(long, value_name = "ID|each")]
        deployment: Option<String>,
    },
    /// Changes a limit's amount. What is used of it already stays used
    Update {
        #[arg(long, value_name = "ID")]
        org: String,
        /// The limit's number, from `bailiwick limit list`
        number: u32,
        #[command(flatten)]
        amount: Amount,
    },
    /// Deletes a limit. One that is made anew begins with nothing used
    Delete {
        #[arg(long, value_name = "ID")]
        org: String,
        /// The limit's number, from `bailiwick limit list`
        number: u32,
        #[command(flatten)]
        consent: Consent,
    },
    /// Lists an organization's limits, and how each stands at this moment: what is used, what workers were lent and have not used yet, and what is in doubt, because a worker was lost that had
    /// been lent it: that counts as used until it is known, or the window is over. Where each key, model or deployment has a sum of its own, the most used one is shown, and how many there are; `limit usage`
    /// shows all. A limit whose key is revoked, or whose model or deployment is deleted, limits nothing any more
    List {
        #[arg(long, value_name = "ID")]
        org: String,
    },
    /// Shows how limits stand at this moment, each sum by itself
    Usage {
        #[arg(long, value_name = "ID")]
        org: String,
    },
}

/// How much of what. 0 admits nothing.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("amount").required(true))]
pub(crate) struct Amount {
    /// Calls in a calendar minute
    #[arg(long, value_name = "CALLS", group = "amount")]
    requests_per_minute: Option<u64>,
    /// Tokens of calls that begin in a calendar minute
    #[arg(long, value_name = "TOKENS", group = "amount")]
    tokens_per_minute: Option<u64>,
    /// Calls at one time
    #[arg(long, value_name = "CALLS", group = "amount")]
    parallel: Option<u64>,
    /// Dollars in a day, UTC, such as 25.50
    #[arg(long, value_name = "USD", group = "amount")]
    usd_per_day: Option<NanoUsd>,
    /// Dollars in a calendar month, UTC
    #[arg(long, value_name = "USD", group = "amount")]
    usd_per_month: Option<NanoUsd>,
    /// Dollars, ever
    #[arg(long, value_name = "USD", group = "amount")]
    usd_total: Option<NanoUsd>,
}

impl Amount {
    /// The measure's word, and how much of it.
    fn of(&self) -> Result<(&'static str, u64), Failure> {
        let counts = [
            ("requests_per_minute", self.requests_per_minute),
            ("tokens_per_minute", self.tokens_per_minute),
            ("parallel_requests", self.parallel),
        ];
        let money = [
            ("nano_usd_per_day", self.usd_per_day),
            ("nano_usd_per_month", self.usd_per_month),
            ("nano_usd_total", self.usd_total),
        ];
        if let Some((measure, count)) = counts.into_iter().find_map(|(word, count)| Some((word, count?))) {
            return Ok((measure, count));
        }
        let chosen = money.into_iter().find_map(|(word, money)| Some((word, money?)));
        let (measure, money) = chosen.ok_or_else(|| Failure::usage("how much of what?"))?;
        let nanos = u64::try_from(money.as_nanos());
        Ok((measure, nanos.map_err(|_| Failure::usage("an amount of money is not negative"))?))
    }
}

impl LimitCommand {
    pub(crate) async fn run(self, connection: &Connection, output: &Output) -> Result<(), Failure> {
        let mut client = connection.policies();
        match self {
            Self::Create { org, amount, key, model, deployment } => {
                let (measure, amount) = amount.of()?;
                let message = CreateLimitRequest {
                    idempotency_key: idempotency_key(),
                    measure: measure.to_owned(),
                    amount,
                    keys: key.map(keys),
                    models: models(connection, &org, model).await?,
                    deployments: deployment.map(deployments),
                    organization_id: org,
                };
                let answer = client.create_limit(request(message)).await?.into_inner();
                let record = record(&answer.limit.unwrap_or_default());
                output.one(&record.count("revision", revision(answer.change)));
            }
            Self::Update { org, number, amount } => {
                let (measure, amount) = amount.of()?;
                let all = list(connection, &org).await?;
                let found = all.iter().find(|limit| limit.number == number);
                let found = found.ok_or_else(|| none(number))?;
                if found.measure != measure {
                    let message = format!("limit {number} is one of {}, not of {measure}", found.measure);
                    return Err(Failure::usage(message).hint("create another limit for another measure"));
                }
                let message = UpdateLimitRequest { organization_id: org, number, amount };
                let answer = client.update_limit(request(message)).await?.into_inner();
                let record = record(&answer.limit.unwrap_or_default());
                output.one(&record.count("revision", revision(answer.change)));
            }
            Self::Delete { org, number, consent } => {
                consent.obtain(&format!("delete limit {number} of {org}"), output)?;
                let message = DeleteLimitRequest { organization_id: org, number };
                let answer = client.delete_limit(request(message)).await?.into_inner();
                let record = Record::default().count("deleted", number);
                output.one(&record.count("revision", revision(answer.change)));
            }
            Self::List { org } => {
                let all = list(connection, &org).await?;
                // Who lends no limits at the moment does not know how they stand, and lists them all the same.
                let stands = usage(connection, &org).await.ok();
                let line = |limit: &Limit| with_standing(record(limit), limit, stands.as_deref());
                output.list(&all.iter().map(line).collect::<Vec<_>>());
            }
            Self::Usage { org } => {
                let limits = list(connection, &org).await?;
                let stands = usage(connection, &org).await?;
                output.list(&stands.iter().map(|stands| sum(stands, &limits)).collect::<Vec<_>>());
            }
        }
        Ok(())
    }
}

async fn list(connection: &Connection, org: &str) -> Result<Vec<Limit>, Failure> {
    let message = ListLimitsRequest { organization_id: org.to_owned() };
    Ok(connection.policies().list_limits(request(message)).await?.into_inner().limits)
}

async fn usage(connection: &Connection, org: &str) -> Result<Vec<LimitUsage>, Failure> {
    let message = GetLimitUsageRequest { organization_id: org.to_owned() };
    Ok(connection.policies().get_limit_usage(request(message)).await?.into_inner().usage)
}

/// The limit's sums come with the most used one first.
fn with_standing(record: Record, limit: &Limit, stands: Option<&[LimitUsage]>) -> Record {
    let own = |stands: &[LimitUsage]| -> Vec<LimitUsage> {
        stands.iter().filter(|stands| stands.number == limit.number).cloned().collect()
    };
    let own = stands.map(own);
    let most = own.as_ref().map(|own| own.first().cloned().unwrap_or_default());
    let count =
        |units: Option<u64>| Value::Maybe(units.map(|units| Box::new(self::units(&limit.measure, units))));
    let sums = own.map(|own| Box::new(Value::Count(u64::try_from(own.len()).unwrap_or(u64::MAX))));
    record
        .with("used", count(most.as_ref().map(|most| most.used)))
        .with("lent", count(most.as_ref().map(|most| most.lent)))
        .with("in_doubt", count(most.as_ref().map(|most| most.in_doubt)))
        .with("sums", Value::Maybe(sums))
}

fn sum(stands: &LimitUsage, limits: &[Limit]) -> Record {
    let limit = limits.iter().find(|limit| limit.number == stands.number);
    let measure = limit.map_or("", |limit| limit.measure.as_str());
    Record::default()
        .count("number", stands.number)
        .text("measure", measure.strip_prefix("nano_").unwrap_or(measure))
        .text("key", &stands.key_id)
        .text("model", &stands.model_id)
        .text("deployment", &stands.deployment_id)
        .with("amount", units(measure, stands.amount))
        .with("used", units(measure, stands.used))
        .with("lent", units(measure, stands.lent))
        .with("in_doubt", units(measure, stands.in_doubt))
        .time("from", stands.window_starts_micros)
        .time("until", stands.window_ends_micros)
}

fn none(number: u32) -> Failure {
    Failure::not_found(format!("the organization has no limit {number}"))
        .hint("bailiwick limit list says which there are")
}

fn keys(text: String) -> LimitedKeys {
    let which = match text.as_str() {
        "each" => limited_keys::Which::Each(true),
        _ => limited_keys::Which::KeyId(text),
    };
    LimitedKeys { which: Some(which) }
}

fn deployments(text: String) -> LimitedDeployments {
    let which = match text.as_str() {
        "each" => limited_deployments::Which::Each(true),
        _ => limited_deployments::Which::DeploymentId(text),
    };
    LimitedDeployments { which: Some(which) }
}

/// A model may be named as applications name it: what is no identifier is looked for by name.
async fn models(
    connection: &Connection,
    org: &str,
    text: Option<String>,
) -> Result<Option<LimitedModels>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let which = match text.as_str() {
        "each" => limited_models::Which::Each(true),
        id if id.starts_with("mdl_") => limited_models::Which::ModelId(text),
        name => limited_models::Which::ModelId(model_named(connection, org, name).await?),
    };
    Ok(Some(LimitedModels { which: Some(which) }))
}

async fn model_named(connection: &Connection, org: &str, name: &str) -> Result<String, Failure> {
    let client = connection.models();
    let all = pages(EVERYTHING, async |page| {
        let message = ListModelsRequest { organization_id: org.to_owned(), page: Some(page) };
        let answer = client.clone().list_models(request(message)).await?.into_inner();
        Ok((answer.models, answer.page))
    })
    .await?;
    let found = all.into_iter().find(|model| model.name == name).map(|model| model.id);
    found.ok_or_else(|| {
        Failure::not_found(format!("the organization has no model named {name}"))
            .hint("bailiwick model list says which there are")
    })
}

fn record(limit: &Limit) -> Record {
    Record::default()
        .count("number", limit.number)
        .text("measure", limit.measure.strip_prefix("nano_").unwrap_or(&limit.measure))
        .with("amount", units(&limit.measure, limit.amount))
        .text("keys", keys_text(limit.keys.as_ref()))
        .text("models", models_text(limit.models.as_ref()))
        .text("deployments", deployments_text(limit.deployments.as_ref()))
        .time("created", limit.created_at_micros)
}

/// Money as dollars, all else as it is counted.
fn units(measure: &str, amount: u64) -> Value {
    match measure.starts_with("nano_usd") {
        true => Value::Money(i64::try_from(amount).unwrap_or(i64::MAX)),
        false => Value::Count(amount),
    }
}

fn keys_text(keys: Option<&LimitedKeys>) -> String {
    match keys.map(|keys| keys.which.as_ref()) {
        None | Some(None) => "all".to_owned(),
        Some(Some(limited_keys::Which::Each(_))) => "each".to_owned(),
        Some(Some(limited_keys::Which::KeyId(id))) => id.clone(),
    }
}

fn models_text(models: Option<&LimitedModels>) -> String {
    match models.map(|models| models.which.as_ref()) {
        None | Some(None) => "all".to_owned(),
        Some(Some(limited_models::Which::Each(_))) => "each".to_owned(),
        Some(Some(limited_models::Which::ModelId(id))) => id.clone(),
    }
}

fn deployments_text(deployments: Option<&LimitedDeployments>) -> String {
    match deployments.map(|deployments| deployments.which.as_ref()) {
        None | Some(None) => "all".to_owned(),
        Some(Some(limited_deployments::Which::Each(_))) => "each".to_owned(),
        Some(Some(limited_deployments::Which::DeploymentId(id))) => id.clone(),
    }
}

#[cfg(test)]
mod tests;
