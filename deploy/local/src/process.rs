//! The processes that this command starts, and ends by pid.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};

const POLL: Duration = Duration::from_millis(50);
/// A process that drains may take this long; then it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(40);

/// A process as the description holds it. The start time tells it from a later process with the same pid.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Started {
    pub(crate) pid: i32,
    /// Clock ticks since the machine's start, field 22 of `/proc/<pid>/stat` (proc(5)).
    pub(crate) start_ticks: u64,
    /// Program and arguments, to start it again by hand.
    pub(crate) command: Vec<String>,
    pub(crate) log: PathBuf,
}

/// A process and the handle that reaps it.
pub(crate) struct Running {
    pub(crate) name: String,
    pub(crate) child: Child,
    pub(crate) started: Started,
}

/// Everything that was started, also by what was interrupted half-way.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<Vec<Started>>);

impl Registry {
    /// Starts a program in a process group of its own, so that Ctrl-C reaches it through us, in order. Its output goes to a log file.
    pub(crate) fn start(&self, name: &str, command: Vec<String>, log: &Path) -> anyhow::Result<Running> {
        let (program, arguments) = command.split_first().context("no program")?;
        let output = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = program_without_secrets(Path::new(program))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).context("the process ended at once")?;
        let start_ticks = start_ticks(pid).unwrap_or_default();
        let started = Started { pid, start_ticks, command, log: log.to_owned() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(started.clone());
        Ok(Running { name: name.to_owned(), child, started })
    }

    /// Ends everything, last first.
    pub(crate) async fn stop(&self) {
        let started = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for process in started.iter().rev() {
            process.stop().await;
        }
    }
}

/// A program that does not inherit the secrets that are meant for this one.
fn program_without_secrets(program: &Path) -> Command {
    let mut command = Command::new(program);
    for name in crate::upstream::SECRET_VARIABLES {
        command.env_remove(name);
    }
    command
}

/// Runs a program to its end. Its standard error is part of the error.
pub(crate) async fn run(program: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = program_without_secrets(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .with_context(|| format!("cannot run {}", program.display()))?;
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{name} {}: {}", arguments.join(" "), complaint.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl Running {
    /// Waits until `url` answers 200. Errors: the process ended first, or time ran out; both with the end of its log.
    pub(crate) async fn ready(&mut self, url: &str, timeout: Duration) -> anyhow::Result<()> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).build()?;
        let deadline = Instant::now() + timeout;
        let mut last = "nobody listens".to_owned();
        loop {
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("{} ended with {status}:\n{}", self.name, tail(&self.started.log));
            }
            match client.get(url).send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => last = answer.text().await.unwrap_or_default(),
                Err(_) => {}
            }
            if Instant::now() > deadline {
                let log = tail(&self.started.log);
                anyhow::bail!("{} was not ready within {} s: {last}\n{log}", self.name, timeout.as_secs());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Started {
    /// Whether the process that was started still runs.
    pub(crate) fn runs(&self) -> bool {
        start_ticks(self.pid) == Some(self.start_ticks)
    }

    /// Asks it to end, and waits; kills it when it takes too long.
    pub(crate) async fn stop(&self) {
        if !self.runs() || signal(self.pid, Signal::SIGTERM).is_err() {
            return;
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        loop {
            if !self.runs() {
                return;
            }
            if Instant::now() > deadline {
                let _ = signal(self.pid, Signal::SIGKILL);
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

fn signal(pid: i32, signal: Signal) -> Result<(), Errno> {
    kill(Pid::from_raw(pid), signal)
}

/// `None` for a process that is gone, or a zombie.
fn start_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name stands in parentheses and may hold anything: fields are counted from the last one.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines
        .iter()
        .skip(lines.len().saturating_sub(15))
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}
