//! Which provider the regions call: OpenAI when `OPENAI_API_KEY` is set, any OpenAI-compatible server with `--upstream`, else the simulated
//! one.

use std::net::IpAddr;

use anyhow::Context;
use serde_json::{Value, json};
use url::Url;

use crate::{UpArguments, layout::Layout};

/// Public name that the local organizations' applications use.
pub(crate) const MODEL: &str = "local-model";
const OPENAI_KEY: &str = "OPENAI_API_KEY";
const UPSTREAM_KEY: &str = "UPSTREAM_API_KEY";
/// For this command alone: no process that it starts sees them.
pub(crate) const SECRET_VARIABLES: [&str; 2] = [OPENAI_KEY, UPSTREAM_KEY];
const SIMULATED_KEY: &str = "simulated-provider-key";

/// The provider that is called.
#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) kind: Kind,
    pub(crate) endpoint: Url,
    /// Provider's name of the model.
    pub(crate) model: String,
    /// Credential. Never printed.
    pub(crate) key: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    OpenAi,
    Compatible,
    Simulated,
}

impl Upstream {
    pub(crate) fn choose(arguments: &UpArguments, layout: &Layout) -> anyhow::Result<Self> {
        let model = |default: &str| arguments.upstream_model.clone().unwrap_or_else(|| default.to_owned());
        if let Some(url) = &arguments.upstream {
            let endpoint = Url::parse(url).with_context(|| format!("--upstream {url} is not a URL"))?;
            anyhow::ensure!(endpoint.host().is_some(), "--upstream {url} names no host");
            let key = environment(UPSTREAM_KEY).unwrap_or_else(|| "none".to_owned());
            let model = arguments.upstream_model.clone().context("--upstream needs --upstream-model")?;
            return Ok(Self { kind: Kind::Compatible, endpoint, model, key });
        }
        if let (Some(key), false) = (environment(OPENAI_KEY), arguments.simulated) {
            let endpoint = Url::parse("https://api.openai.com/v1")?;
            return Ok(Self { kind: Kind::OpenAi, endpoint, model: model("gpt-4o-mini"), key });
        }
        let endpoint = Url::parse(&format!("http://{}/v1", layout.provider))?;
        Ok(Self { kind: Kind::Simulated, endpoint, model: model("simulated"), key: SIMULATED_KEY.to_owned() })
    }

    /// The word that the admin API has for it.
    pub(crate) fn provider(&self) -> &'static str {
        match self.kind {
            Kind::OpenAi => "openai",
            Kind::Compatible | Kind::Simulated => "openai_compatible",
        }
    }

    /// For people.
    pub(crate) fn label(&self) -> String {
        match self.kind {
            Kind::OpenAi => "OpenAI".to_owned(),
            Kind::Compatible => self.endpoint.to_string(),
            Kind::Simulated => {
                "SIMULATED provider (set OPENAI_API_KEY or --upstream URL for a real one)".to_owned()
            }
        }
    }

    /// The only host that the regions' egress policy admits.
    pub(crate) fn host(&self) -> String {
        self.endpoint.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned()
    }

    /// Loopback, where the provider is this machine's; the simulated one's own address, where that is another.
    pub(crate) fn private_ranges(&self) -> Vec<String> {
        let host = self.host();
        if matches!(host.as_str(), "localhost" | "::1") || host.starts_with("127.") {
            return vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()];
        }
        let own = (self.kind == Kind::Simulated).then(|| host.parse::<IpAddr>().ok()).flatten();
        let whole = |address: IpAddr| format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 });
        own.map(whole).into_iter().collect()
    }

    /// Whether the provider is this machine's.
    pub(crate) fn is_local(&self) -> bool {
        !self.private_ranges().is_empty()
    }

    /// A price for the simulated model, so that a cost can be shown.
    pub(crate) fn prices(&self) -> Value {
        if self.kind != Kind::Simulated {
            return json!({});
        }
        json!({"openai_compatible/simulated": {"input": 2.5, "output": 10.0}})
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a command for the terminal: these two variables are its interface"
)]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
