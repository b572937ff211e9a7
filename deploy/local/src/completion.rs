//! One completion through a region, and what its control plane says that it cost.

use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

use crate::{account::Account, admin::Admin, layout::RegionLayout};

const POLL: Duration = Duration::from_millis(50);
const METERED_WITHIN: Duration = Duration::from_secs(20);
/// A new model is on its way to the workers: their first answers may not know it.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Metered {
    pub(crate) text: String,
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
    pub(crate) cost_nanos_usd: i64,
    pub(crate) priced: bool,
}

/// Sends a completion and waits until it is metered.
pub(crate) async fn send(region: &RegionLayout, admin: &Admin, account: &Account) -> anyhow::Result<Metered> {
    let before = admin.usage(&account.organization).await?;
    let text = complete(region, account).await?;
    let deadline = Instant::now() + METERED_WITHIN;
    loop {
        let after = admin.usage(&account.organization).await?;
        if after.calls > before.calls {
            return Ok(Metered {
                text,
                prompt_tokens: after.prompt_tokens - before.prompt_tokens,
                completion_tokens: after.completion_tokens - before.completion_tokens,
                cost_nanos_usd: after.cost_nanos_usd - before.cost_nanos_usd,
                priced: after.unpriced_calls == before.unpriced_calls,
            });
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "the completion was served but not metered within {METERED_WITHIN:?}"
        );
        tokio::time::sleep(POLL).await;
    }
}

async fn complete(region: &RegionLayout, account: &Account) -> anyhow::Result<String> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build()?;
    let request = json!({
        "model": account.model,
        "messages": [{"role": "user", "content": format!("Say in one sentence what {} is.", region.name)}],
    });
    let deadline = Instant::now() + KNOWN_WITHIN;
    loop {
        let call = client
            .post(format!("http://{}/v1/chat/completions", region.router))
            .bearer_auth(&account.api_key);
        let answer = call.json(&request).send().await.context("sending a completion")?;
        let status = answer.status();
        let body = answer.text().await?;
        if status.is_success() {
            let body: Value = serde_json::from_str(&body).context("the completion is not JSON")?;
            let text = body.pointer("/choices/0/message/content").and_then(Value::as_str);
            return Ok(text.context("the completion has no text")?.to_owned());
        }
        // The key and the model are on their way to the workers.
        let not_yet = matches!(status.as_u16(), 401 | 404 | 503) && Instant::now() < deadline;
        anyhow::ensure!(not_yet, "the completion was answered with {status}: {body}");
        tokio::time::sleep(POLL).await;
    }
}
