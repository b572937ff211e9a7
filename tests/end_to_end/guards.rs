//! Every guard matters: a region that goes without one is found by `bailiwick verify isolation`, which exits 1 and names the hole.
//!
//! One region of an installation, the target, is robbed of one guard after the other; the attacks on the other regions have to be refused as ever. A
//! guard that is added does not compile here before it has a row, and fails before an attack notices that it is gone.

use std::{
    net::TcpStream,
    process::{Command, Output},
};

use bailiwick_domain::guard::Guard;
use bailiwick_tests::{
    eventually,
    installation::{Installation, Process},
    process::{Owned, binary, kill_hard},
};
use serde_json::Value;

const TARGET: &str = "us-east-1";
const VARIABLE: &str = "BAILIWICK_REMOVE_GUARD";

/// What notices that a guard is gone.
struct Notice {
    /// Who goes without it.
    by: By,
    /// The attack's number.
    attack: u8,
    /// The layer whose refusal is missing.
    layer: &'static str,
    /// A part of the attempt's name.
    attempt: &'static str,
}

/// Who goes without a guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// The target's router.
    Router,
    /// The target's workers.
    Workers,
    /// The target's control plane.
    ControlPlane,
    /// The programs of all regions that the attack itself starts.
    Programs,
    /// A whole installation, from its beginning: what is sealed was sealed without it.
    Everything,
}

/// A row for each guard.
fn notice(guard: Guard) -> Notice {
    let (by, attack, layer, attempt) = match guard {
        Guard::RouterKeyRegion => {
            (By::Router, 1, "router: admission", "a valid key of the other region, at the router")
        }
        Guard::RouterSignupRegion => {
            (By::Router, 9, "router: region of a signup", "the other region in the query")
        }
        Guard::WorkerKeyRegion => (By::Workers, 1, "worker: region of the key", "at a worker"),
        Guard::WorkerKeyDigest => {
            (By::Workers, 1, "worker: the key's digest", "own identifier, with another secret")
        }
        Guard::AdminIdentifiers => {
            (By::ControlPlane, 2, "admin API: jurisdiction", "id of the other region in OrganizationService")
        }
        Guard::ControlPlaneRegion => {
            (By::ControlPlane, 9, "worker API: jurisdiction", "at the control plane")
        }
        Guard::ProcessRegion => {
            (By::ControlPlane, 7, "worker API: jurisdiction", "asks for the other's configuration")
        }
        Guard::UsageIdentifiers => (By::ControlPlane, 7, "worker API: jurisdiction", "names the other's key"),
        Guard::UsageOrganizations => {
            (By::ControlPlane, 7, "worker API: usage intake", "this region never had")
        }
        Guard::CallerCertificate => (By::ControlPlane, 3, "admin API: mutual TLS", "no certificate"),
        Guard::CallerChain => (By::ControlPlane, 3, "admin API: mutual TLS", "a made-up certificate"),
        Guard::CallerTime => (By::ControlPlane, 16, "admin API: mutual TLS", "own operator that has expired"),
        Guard::FullHandshake => (
            By::ControlPlane,
            16,
            "admin API: mutual TLS",
            "a session of this region's own operator, resumed",
        ),
        Guard::TrustDomain => (By::ControlPlane, 3, "admin API: mutual TLS", "the other region's operator"),
        Guard::Role => (By::ControlPlane, 4, "worker API: mutual TLS", "this region's own operator"),
        Guard::ServerCertificate => {
            (By::Programs, 5, "worker: the control plane's certificate", "worker program")
        }
        Guard::ServerTime => {
            (By::Programs, 16, "worker: the control plane's certificate", "this region's worker program")
        }
        Guard::EnrollmentRegion => {
            (By::ControlPlane, 6, "enrollment: jurisdiction", "good in the other region")
        }
        Guard::JoinTokenDigest => {
            (By::ControlPlane, 6, "enrollment: the token itself", "own identifier, with another secret")
        }
        Guard::JoinTokenUse => (By::ControlPlane, 6, "enrollment: the token itself", "a token that was used"),
        Guard::TokenRegion => {
            (By::ControlPlane, 3, "token API: jurisdiction", "the other region's bearer token")
        }
        Guard::ServiceSecretDigest => {
            (By::ControlPlane, 3, "token API: the secret's digest", "of an account of this region")
        }
        Guard::TokenSignature => {
            (By::ControlPlane, 16, "token API: the token's signature", "another key under")
        }
        Guard::TokenHeader => {
            (By::ControlPlane, 16, "token API: the token's signature", "brings a key along in its header")
        }
        Guard::TokenIssuer => {
            (By::ControlPlane, 16, "token API: the token's signature", "by the other region's issuer")
        }
        Guard::TokenAudience => {
            (By::ControlPlane, 16, "token API: the token's signature", "for the other region's audience")
        }
        Guard::TokenBeginning => {
            (By::ControlPlane, 16, "token API: the token's signature", "a token that is not valid yet")
        }
        Guard::TokenLife => {
            (By::ControlPlane, 16, "token API: the token's signature", "a token that lives too long")
        }
        Guard::TokenEnd => (By::ControlPlane, 16, "token API: the token's signature", "has expired"),
        Guard::TokenAccount => (By::ControlPlane, 16, "token API: the token's signature", "revoked since"),
        Guard::TokenOrganization => (
            By::ControlPlane,
            16,
            "admin API: organization of the caller",
            "another organization of its region",
        ),
        Guard::ConfigurationIdentifiers => {
            (By::Programs, 8, "worker: jurisdiction over configuration", "in a step of the log")
        }
        Guard::StoreIdentity => {
            (By::Programs, 11, "store: whose it says it is", "opened by this region's control plane")
        }
        Guard::SealedPlace => (By::Everything, 12, "vault: ", "in another row"),
        Guard::BackupRegion => {
            (By::Programs, 13, "restore: whose the backup says it is", "restored over a copy")
        }
        Guard::EgressAtCreation => (By::ControlPlane, 14, "admin API: egress policy", "metadata address"),
        Guard::EgressAtConnect => {
            (By::Workers, 14, "worker: the address that is dialled", "resolves to this machine")
        }
        Guard::ProviderRedirects => {
            (By::Workers, 14, "worker: redirects are not followed", "redirects outside")
        }
        Guard::TelemetryCollector => {
            (By::Programs, 15, "configuration: whose law holds at the collector", "no rule names")
        }
    };
    Notice { by, attack, layer, attempt }
}

#[tokio::test(flavor = "multi_thread")]
async fn r3_without_any_one_guard_the_attack_that_it_stands_against_names_the_hole() {
    let installation = Installation::start();
    let mut target = Target::of(&installation);
    for by in [By::Router, By::Workers, By::ControlPlane, By::Programs] {
        let guards = Guard::ALL.iter().copied().filter(|guard| notice(*guard).by == by);
        for guard in guards {
            target.go_without(guard, by).await;
            let environment = (by == By::Programs).then_some(guard);
            assert_noticed(&installation, guard, environment, by != By::Programs);
        }
        target.recover(by).await;
    }
    // With every guard in its place again, nothing is found: what was found before was each guard's absence.
    let (output, report) = verify(&installation, None, None);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(report["passed"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_without_its_place_in_the_seal_a_moved_value_is_not_found_and_the_attack_says_so() {
    let everything = Guard::ALL.iter().copied().filter(|guard| notice(*guard).by == By::Everything);
    for guard in everything {
        let installation = Installation::start_with(&[(VARIABLE, guard.name())]);
        assert_noticed(&installation, guard, Some(guard), false);
    }
}

fn assert_noticed(installation: &Installation, guard: Guard, environment: Option<Guard>, target_only: bool) {
    let Notice { attack, layer, attempt, .. } = notice(guard);
    let (output, report) = verify(installation, Some(attack), environment);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "without {guard}: {said}");
    let attempts = report["attempts"].as_array().expect("attempts");
    let holes: Vec<&Value> = attempts.iter().filter(|tried| tried["verdict"] == "hole").collect();
    let is_it = |tried: &&&Value| {
        tried["attack"] == attack
            && tried["to"] == TARGET
            && tried["layer"].as_str().is_some_and(|found| found.starts_with(layer))
            && tried["what"].as_str().is_some_and(|found| found.contains(attempt))
    };
    let hole = holes.iter().find(is_it);
    let hole = hole.unwrap_or_else(|| panic!("without {guard}, {layer} ({attempt}) is no hole: {said}"));
    for named in [&hole["what"], &hole["layer"], &hole["observed"]] {
        assert!(said.contains(named.as_str().expect("text")), "{guard}: {named} is not told: {said}");
    }
    let elsewhere = holes.iter().find(|tried| tried["to"] != TARGET);
    assert!(!target_only || elsewhere.is_none(), "without {guard} in {TARGET}: {elsewhere:?}");
    assert_eq!(report["left_behind"].as_array().map(Vec::len), Some(0), "{guard}: {said}");
}

fn verify(installation: &Installation, only: Option<u8>, without: Option<Guard>) -> (Output, Value) {
    let report = installation.folder().join("report.json");
    let mut command = Command::new(binary("bailiwick"));
    command.args(["verify", "isolation", "--report"]).arg(&report);
    command.env("BAILIWICK_LOCAL", installation.folder().join("local.json"));
    if let Some(attack) = only {
        command.args(["--only", &attack.to_string()]);
    }
    if let Some(guard) = without {
        command.env(VARIABLE, guard.name());
    }
    let output = command.output().expect("bailiwick starts");
    let report = std::fs::read_to_string(&report).expect("a report");
    (output, serde_json::from_str(&report).expect("JSON"))
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The target's processes, each of which can be started anew without a guard.
struct Target {
    control_plane: Member,
    workers: Vec<Member>,
    router: Member,
}

struct Member {
    process: Process,
    /// Where this test has started it last.
    owned: Option<Owned>,
}

impl Target {
    fn of(installation: &Installation) -> Self {
        let processes = &installation.region(TARGET).processes;
        let member = |process: &Process| Member { process: process.clone(), owned: None };
        Self {
            control_plane: member(&processes.control_plane),
            workers: processes.workers.iter().map(member).collect(),
            router: member(&processes.router),
        }
    }

    async fn go_without(&mut self, guard: Guard, by: By) {
        self.restart(by, &[(VARIABLE, guard.name())], Some(guard)).await;
    }

    async fn recover(&mut self, by: By) {
        self.restart(by, &[], None).await;
    }

    async fn restart(&mut self, by: By, environment: &[(&str, &str)], without: Option<Guard>) {
        let members: Vec<&mut Member> = match by {
            By::Router => vec![&mut self.router],
            By::Workers => self.workers.iter_mut().collect(),
            By::ControlPlane => vec![&mut self.control_plane],
            By::Programs | By::Everything => Vec::new(),
        };
        for member in members {
            member.restart(environment).await;
            member.is_ready(without).await;
        }
    }
}

impl Member {
    async fn restart(&mut self, environment: &[(&str, &str)]) {
        match self.owned.take() {
            Some(owned) => drop(owned),
            None => kill_hard(self.process.pid),
        }
        let gone = || async { TcpStream::connect(&self.process.address).is_err().then_some(()) };
        eventually("nobody listens there any more", gone).await;
        self.owned = Some(Owned::start_with(&self.process.command, &self.process.log, environment));
    }

    /// It serves, and says what it goes without.
    async fn is_ready(&self, without: Option<Guard>) {
        let url = self.process.readyz();
        let name = &self.process.name;
        eventually(&format!("{name} is ready without {without:?}"), || async {
            let answer = reqwest::get(&url).await.ok()?.error_for_status().ok()?.text().await.ok()?;
            let removed = without.map_or(Value::Null, |guard| Value::from(vec![guard.name()]));
            let said: Value = serde_json::from_str(&answer).ok()?;
            (said["removed_guards"] == removed).then_some(())
        })
        .await;
        let log = std::fs::read_to_string(&self.process.log).expect("a log");
        assert_eq!(log.contains("GOES WITHOUT A GUARD"), without.is_some(), "{name}");
    }
}
