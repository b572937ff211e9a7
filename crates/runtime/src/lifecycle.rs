//! How a process lives and ends. Its tasks have one owner, [`Tasks`]; a task that crashes ends the process with a failure. The first signal
//! (SIGTERM or SIGINT) is soft: take no new work, finish what is under way, then stop. The second is hard.

#[cfg(test)]
mod tests;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::drain;

/// How long tasks may take to end once they were told to stop, for example to flush what was metered.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The long-lived tasks of a process.
#[derive(Debug, Default)]
pub struct Tasks {
    running: JoinSet<Finished>,
    stopping: CancellationToken,
}

#[derive(Debug)]
struct Finished {
    name: &'static str,
    failure: Option<String>,
}

/// What a task returns: nothing, or whether it failed.
pub trait Outcome: Send + 'static {
    /// Why it failed, with the chain of causes.
    fn failure(self) -> Option<String>;
}

impl Outcome for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>> + Send + 'static> Outcome for Result<(), E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| chain(error.into().as_ref()))
    }
}

/// An error with its causes: its own `Display` never repeats them.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

impl Tasks {
    /// No tasks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Resolves when tasks shall end. Give a clone to each task.
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Starts a task. It must run until it is told to stop, or until the process drains: one that ends before is a failure of the process.
    pub fn spawn<F>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output: Outcome> + Send + 'static,
    {
        self.running.spawn(async move { Finished { name, failure: task.await.failure() } });
    }

    /// The next task that ended, and why that is wrong; pending while there is none. `early` says whether an end without an error is too soon.
    async fn next_failure(&mut self, early: bool) -> String {
        loop {
            match self.running.join_next().await {
                Some(Ok(Finished { name, failure: Some(failure) })) => return format!("{name}: {failure}"),
                Some(Ok(Finished { name, failure: None })) if early => {
                    return format!("{name} ended too early");
                }
                Some(Ok(_)) => {}
                // Which task it was, and where, is in the log: see `telemetry`.
                Some(Err(_panicked)) => return "a task panicked".to_owned(),
                None => std::future::pending().await,
            }
        }
    }

    /// Tells all tasks to end, and waits until they have; at most for `bound`, then they are aborted.
    async fn stop(&mut self, bound: Duration) -> Result<(), String> {
        self.stopping.cancel();
        let all = async {
            let mut outcome = Ok(());
            while let Some(ended) = self.running.join_next().await {
                match ended {
                    Ok(Finished { failure: None, .. }) => {}
                    Ok(Finished { name, failure: Some(failure) }) => {
                        outcome = Err(format!("{name}: {failure}"))
                    }
                    Err(_panicked) => outcome = Err("a task panicked".to_owned()),
                }
            }
            outcome
        };
        let ended = tokio::time::timeout(bound, all).await;
        ended.unwrap_or_else(|_elapsed| {
            self.running.abort_all();
            Err(format!("tasks did not end within {} s", bound.as_secs()))
        })
    }
}

/// Runs until a signal or a crash, then ends in order: drain (at most `drain_timeout`), stop all tasks, exit. A second signal ends it at once.
/// The exit code is 0 only when nothing crashed and everything ended when told; calls that took longer than
/// `drain_timeout` are cut off, which is what the bound is for, and do not count.
///
/// # Errors
/// The signal handlers cannot be installed.
pub async fn run_until_signalled(
    tasks: Tasks,
    signal: drain::Signal,
    drain_timeout: Duration,
) -> std::io::Result<ExitCode> {
    let bounds = Bounds { drain: drain_timeout, stop: STOP_TIMEOUT };
    Ok(run(tasks, signal, bounds, signals()?).await)
}

/// How long each part of the end may take.
#[derive(Clone, Copy)]
struct Bounds {
    drain: Duration,
    stop: Duration,
}

async fn run(
    mut tasks: Tasks,
    drain: drain::Signal,
    bounds: Bounds,
    signals: impl Stream<Item = &'static str>,
) -> ExitCode {
    let mut signals = std::pin::pin!(signals);
    let crash = tokio::select! {
        failure = tasks.next_failure(true) => Some(failure),
        Some(name) = signals.next() => {
            tracing::info!(signal = name, "draining");
            None
        }
    };
    if let Some(failure) = &crash {
        tracing::error!(%failure, "a task failed, the process ends");
    }

    drain.drain();
    let ended = async {
        let failure = drain_until(&mut tasks, &drain, bounds.drain).await;
        tasks.stop(bounds.stop).await.err().or(failure)
    };
    let failure = tokio::select! {
        failure = ended => failure,
        Some(name) = signals.next() => Some(format!("{name} came again while draining")),
    };
    if let Some(failure) = &failure {
        tracing::error!(%failure, "the process did not end in order");
    }
    if crash.or(failure).is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Waits until nothing is under way. A task that ends meanwhile was draining; one that fails is reported.
async fn drain_until(tasks: &mut Tasks, drain: &drain::Signal, bound: Duration) -> Option<String> {
    tokio::select! {
        () = drain.drained() => None,
        failure = tasks.next_failure(false) => Some(failure),
        () = tokio::time::sleep(bound) => {
            tracing::warn!(seconds = bound.as_secs(), "calls that are still under way are cut off");
            None
        }
    }
}

fn signals() -> std::io::Result<impl Stream<Item = &'static str>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(futures_util::stream::poll_fn(move |cx| {
        if terminate.poll_recv(cx).is_ready() {
            return std::task::Poll::Ready(Some("SIGTERM"));
        }
        interrupt.poll_recv(cx).map(|_received| Some("SIGINT"))
    }))
}
