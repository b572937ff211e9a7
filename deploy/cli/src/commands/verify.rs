//! `bailiwick verify isolation`: every region attacks every other, and the operator sees what refused each attack.

use std::{collections::BTreeSet, fs, path::PathBuf};

use bailiwick_verify::{Access, Cell, Choice, Listed, Report, State, Verdict, VerifyError};
use clap::{Args, Subcommand};

use crate::{
    contexts::{Context, Process},
    environment::Environment,
    failure::{Exit, Failure},
    output::{Output, Record},
};

#[derive(Debug, Subcommand)]
pub(crate) enum VerifyCommand {
    /// Really attacks each region with what another one has, and says what refused each attack, and how fast
    ///
    /// Every ordered pair of regions is attacked: keys, identifiers, certificates, join tokens, usage, configuration, signups and forged headers of the one
    /// at the other. Each attempt knows which layer must refuse it and with which answer; anything else is a hole, also a refusal of another kind, because
    /// then another layer has refused what this one let through. The table has a line for each attack and a column for each pair: ✓ refused, × a hole,
    /// ? nobody answered, - could not be tried from here.
    ///
    /// Needs a context, with an operator's certificate, for each region (`bailiwick context add`); beside a local installation it finds all of them. In
    /// each region it makes an organization with two keys and service accounts, a worker's and a router's certificate, and removes them again. Where the regions' programs and
    /// files are on this machine, their databases, backups, workers and control planes are attacked too: in copies, and with processes of its own that end
    /// with it. A control plane's certificate that it has issued for that ends within ten minutes; the audit trail tells of all of it.
    ///
    /// The report carries every attempt, builds, and certificates' fingerprints; no secret. Exit code 1 when anything was let through, answered with
    /// anything but its documented refusal, or not answered.
    Isolation(IsolationArguments),
}

#[derive(Args, Debug)]
pub(crate) struct IsolationArguments {
    /// Only the attacks of these numbers, with commas between them
    #[arg(long, value_delimiter = ',', value_name = "NUMBER")]
    only: Vec<u8>,
    /// Lists the attacks and ends
    #[arg(long)]
    list: bool,
    /// Shows every attempt, not only those that failed or could not be made
    #[arg(long)]
    all: bool,
    /// Where the report is written, JSON; it holds no secret
    #[arg(long, value_name = "FILE", default_value = "isolation-report.json")]
    report: PathBuf,
}

impl VerifyCommand {
    pub(crate) async fn run(self, environment: &Environment, output: &Output) -> Result<Exit, Failure> {
        let Self::Isolation(arguments) = self;
        if arguments.list {
            let listed = bailiwick_verify::list();
            output.list(&listed.iter().map(attack).collect::<Vec<_>>());
            return Ok(Exit::Done);
        }
        let regions = Context::all(environment)?.into_iter().map(access).collect();
        let choice = Choice { only: arguments.only.iter().copied().collect::<BTreeSet<_>>() };
        let interrupt = async {
            let _told = tokio::signal::ctrl_c().await;
        };
        let report = bailiwick_verify::verify(regions, &choice, |text| output.note(text), interrupt).await;
        let report = report.map_err(failure)?;
        write(&report, &arguments.report)?;
        show(&report, arguments.all, output);
        output.note(&format!("the report is in {}", arguments.report.display()));
        Ok(if report.passed { Exit::Done } else { Exit::Failed })
    }
}

fn attack(listed: &Listed) -> Record {
    Record::default().count("attack", listed.number).text("name", listed.name)
}

fn access(context: Context) -> Access {
    let state = state(&context.processes);
    Access {
        state,
        region: context.region,
        installation: context.installation,
        admin: context.admin,
        identity: context.identity,
        router: context.router,
        processes: context.processes_addr,
        enrollment: context.enrollment_addr,
        tokens: context.tokens_addr,
    }
}

/// A local installation's control plane is the first of its region's processes; everything of it lies beside its configuration.
fn state(processes: &[Process]) -> Option<State> {
    let control_plane = processes.first()?;
    let configuration = control_plane.config.clone()?;
    let folder = configuration.parent()?;
    Some(State {
        control_plane: control_plane.program()?,
        // After it come the workers.
        worker: processes.get(1).and_then(Process::program),
        store: folder.join("region.db"),
        master_key: folder.join("master.key"),
        configuration,
    })
}

fn failure(error: VerifyError) -> Failure {
    match error {
        VerifyError::TooFew(_) => Failure::usage(error.to_string()).hint("bailiwick context list"),
        VerifyError::NoSuchAttack(_) => {
            Failure::usage(error.to_string()).hint("bailiwick verify isolation --list")
        }
        VerifyError::Region { .. } => {
            Failure::failed(error.to_string()).hint("bailiwick check, in that region")
        }
    }
}

fn write(report: &Report, file: &std::path::Path) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::failed(format!("the report cannot be written to {}: {error}", file.display()))
    };
    let text = serde_json::to_string_pretty(report).map_err(|error| failed(&error))?;
    fs::write(file, text).map_err(|error| failed(&error))
}

/// A table of attacks by pairs, then what deserves a line.
fn show(report: &Report, all: bool, output: &Output) {
    if output.is_json() {
        output.json(report);
        return;
    }
    let code = |name: &str| {
        let region = report.regions.iter().find(|region| region.name == name);
        region.map_or_else(|| name.to_owned(), |region| region.code.clone())
    };
    let pairs = report.pairs();
    for listed in &report.attacks {
        let cells: Vec<&Cell> = pairs.iter().filter_map(|pair| report.cell(listed.number, *pair)).collect();
        let worst = cells.iter().map(|cell| cell.verdict).max().unwrap_or(Verdict::NotAttempted);
        let passed = match worst {
            Verdict::Refused => Some(true),
            Verdict::NotAttempted => None,
            Verdict::Unanswered | Verdict::Hole => Some(false),
        };
        let one = |cell: &&Cell| format!("  {}→{} {}", code(&cell.from), code(&cell.to), sign(cell.verdict));
        let line: String = cells.iter().map(one).collect();
        let tried: usize = cells.iter().map(|cell| cell.tried).sum();
        let longest = cells.iter().map(|cell| cell.longest_micros).max().unwrap_or_default();
        let (millis, tenth) = (longest / 1000, longest % 1000 / 100);
        output.mark(
            passed,
            &format!("{:>2}  {:<52}{line}  {tried} tried, ≤ {millis}.{tenth} ms", listed.number, listed.name),
        );
    }
    for tried in &report.attempts {
        let attempt = &tried.attempt;
        if attempt.verdict == Verdict::Refused && !all {
            continue;
        }
        let (from, to) = (code(&tried.from), code(&tried.to));
        let what = format!("{:>2} {from}→{to} {}: {}", tried.attack, attempt.what, attempt.observed);
        match attempt.verdict {
            Verdict::Refused => output.mark(Some(true), &format!("{what} [{}]", attempt.layer)),
            Verdict::NotAttempted => output.mark(None, &format!("{what} (not tried)")),
            Verdict::Unanswered => output.mark(Some(false), &format!("{what} (nobody answered)")),
            Verdict::Hole => output
                .mark(Some(false), &format!("{what}; expected of {}: {}", attempt.layer, attempt.expected)),
        }
    }
    for left in &report.left_behind {
        output.mark(Some(false), &format!("left behind: {left}"));
    }
    let seconds = (report.ended_micros - report.began_micros) / 1000;
    let count = |verdict| report.attempts.iter().filter(|tried| tried.attempt.verdict == verdict).count();
    output.line(&format!(
        "{} attempts on {} pairs in {}.{:03} s: {} refused as documented, {} holes, {} unanswered, {} not tried",
        report.attempts.len(),
        pairs.len(),
        seconds / 1000,
        seconds % 1000,
        count(Verdict::Refused),
        count(Verdict::Hole),
        count(Verdict::Unanswered),
        count(Verdict::NotAttempted),
    ));
}

fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Refused => "✓",
        Verdict::NotAttempted => "-",
        Verdict::Unanswered => "?",
        Verdict::Hole => "×",
    }
}
