//! The local organization of a region, signed up once and remembered.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    admin::Admin,
    description::write_private,
    layout::RegionLayout,
    upstream::{Kind, MODEL, Upstream},
};

/// What is remembered of it. The file holds a key: only its owner may read it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) organization: String,
    pub(crate) api_key: String,
    pub(crate) model: String,
    /// Endpoint and model that [`Account::model`] calls: another one means another account.
    upstream: (String, String),
}

#[derive(Deserialize)]
struct SignedUp {
    organization_id: String,
    api_key: String,
}

/// The account of an earlier start, or a new one through the router's public signup.
pub(crate) async fn open(
    region: &RegionLayout,
    admin: &Admin,
    upstream: &Upstream,
) -> anyhow::Result<Account> {
    let file = file(region);
    let calls = (upstream.endpoint.to_string(), upstream.model.clone());
    if let Ok(text) = fs::read_to_string(&file) {
        let known: Account =
            serde_json::from_str(&text).with_context(|| format!("{} is damaged", file.display()))?;
        // A real provider's key may have changed since; the simulated one's never does.
        if known.upstream == calls && upstream.kind == Kind::Simulated {
            return Ok(known);
        }
    }
    let signed_up = sign_up(region).await?;
    if !upstream.is_local() {
        // It may be processed anywhere, and whoever starts this wants it all the same.
        admin.list_host(&signed_up.organization_id, upstream.host()).await?;
    }
    admin.model(&signed_up.organization_id, upstream).await?;
    let account = Account {
        organization: signed_up.organization_id,
        api_key: signed_up.api_key,
        model: MODEL.to_owned(),
        upstream: calls,
    };
    write_private(&file, &serde_json::to_string_pretty(&account)?)?;
    Ok(account)
}

async fn sign_up(region: &RegionLayout) -> anyhow::Result<SignedUp> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
    let request = json!({
        "region": region.name,
        "organization_name": format!("Local organization in {}", region.name),
        "email": "owner@example.com",
    });
    let answer = client.post(format!("http://{}/v1/signup", region.router)).json(&request).send().await?;
    let status = answer.status();
    let body = answer.text().await?;
    anyhow::ensure!(status.is_success(), "signup was answered with {status}: {body}");
    serde_json::from_str(&body).context("signup was answered with something else than an account")
}

fn file(region: &RegionLayout) -> PathBuf {
    region.dir.join("account.json")
}
