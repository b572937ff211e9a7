//! 15: telemetry that would leave the region. The region's own program reads the region's own configuration, with a collector in it that lies elsewhere; only where the
//! state lies on this machine.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::Output,
};

use async_trait::async_trait;
use tokio::process::Command;

use super::{egress::Trap, layer};
use crate::{
    access::State,
    attack::{Attack, Pair},
    attempt::{Attempt, Probe},
};

const ENDPOINT: &str = "BAILIWICK_CONTROL_PLANE_TELEMETRY__OTLP_ENDPOINT";
const ALLOW: &str = "BAILIWICK_CONTROL_PLANE_TELEMETRY__ALLOW";

pub(super) struct Telemetry;

#[async_trait]
impl Attack for Telemetry {
    fn number(&self) -> u8 {
        15
    }

    fn name(&self) -> &'static str {
        "telemetry export out of the region"
    }

    async fn run(&self, pair: Pair<'_>) -> Vec<Attempt> {
        let Some(state) = pair.target.access.state.as_ref() else {
            return vec![unlisted().not_attempted("the region's configuration is not on this machine")];
        };
        let home = pair.target.law.as_str();
        let abroad = if home == "eu" { "us" } else { "eu" };
        let mut attempts = vec![refused(unlisted(), state, None).await];
        for jurisdiction in [abroad, "global"] {
            let probe = configured(&format!("a collector whose rule says {jurisdiction}"));
            attempts.push(refused(probe, state, Some(jurisdiction)).await);
        }
        attempts.push(dialled(state, home).await);
        attempts
    }
}

fn configured(what: &str) -> Probe {
    Probe::new(
        what,
        layer::CONFIGURATION,
        "the program refuses its configuration, and names telemetry.otlp_endpoint",
    )
}

fn unlisted() -> Probe {
    configured("a collector that no rule names")
}

async fn refused(probe: Probe, state: &State, jurisdiction: Option<&str>) -> Attempt {
    let rule = jurisdiction.map(|jurisdiction| rule("collector.verify.test", jurisdiction));
    let mut variables = vec![(ENDPOINT, "http://collector.verify.test:4317".to_owned())];
    variables.extend(rule.map(|rule| (ALLOW, rule)));
    match check(state, &variables, &[]).await {
        Err(why) => probe.not_attempted(why),
        Ok(output) => {
            let said = said(&output);
            probe.expect(!output.status.success() && said.contains("telemetry.otlp_endpoint"), said)
        }
    }
}

/// Its rule says that it is at home, and its name leads to an address that the rule does not allow.
async fn dialled(state: &State, home: &str) -> Attempt {
    let probe = Probe::new(
        "a collector whose name resolves to an address that its rule does not allow",
        layer::TELEMETRY,
        "the address is refused, and nobody arrives there",
    );
    let trap = match Trap::set(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await {
        Ok(trap) => trap,
        Err(why) => return probe.not_attempted(why),
    };
    let endpoint = format!("http://localhost:{}", trap.address.port());
    let variables = [(ENDPOINT, endpoint), (ALLOW, rule("localhost", home))];
    match check(state, &variables, &["--connect"]).await {
        Err(why) => probe.not_attempted(why),
        Ok(output) => {
            let (said, arrived) = (said(&output), trap.caught());
            let refused = !output.status.success() && said.contains("is not a public address");
            probe.expect(refused && arrived == 0, format!("{said}; {arrived} arrived"))
        }
    }
}

fn rule(pattern: &str, jurisdiction: &str) -> String {
    format!("[{{pattern=\"{pattern}\",jurisdiction=\"{jurisdiction}\"}}]")
}

async fn check(state: &State, variables: &[(&str, String)], more: &[&str]) -> Result<Output, String> {
    let output = Command::new(&state.control_plane)
        .arg("--config")
        .arg(&state.configuration)
        .arg("check-config")
        .args(more)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .output()
        .await;
    output.map_err(|error| format!("{} does not run: {error}", state.control_plane.display()))
}

fn said(output: &Output) -> String {
    let text = if output.status.success() { &output.stdout } else { &output.stderr };
    String::from_utf8_lossy(text).lines().last().unwrap_or("nothing was said").trim().to_owned()
}
