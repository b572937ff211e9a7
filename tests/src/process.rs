//! Processes of an installation, by pid.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A program beside this test's own.
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the test has a path");
    let folder = own.parent().and_then(Path::parent).expect("target/<profile>/deps/");
    let path = folder.join(name);
    assert!(
        path.exists(),
        "{} is not built: run ./tests/run, or cargo build --workspace first",
        path.display()
    );
    path
}

/// Ends a process without a word.
pub fn kill_hard(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("the process runs");
}

/// Asks a process to end.
pub fn terminate(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("the process runs");
}

/// Makes a process stand still.
pub fn stop(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGSTOP).expect("the process runs");
}

/// Lets a process that stands still go on.
pub fn go_on(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGCONT).expect("the process runs");
}

/// Whether a process runs (a zombie does not).
pub fn runs(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// Bytes of memory that a process has in use.
pub fn memory_bytes(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
    1024 * kilobytes.expect("Linux says it").parse::<u64>().expect("a number")
}

/// A process of this test, ended when the test lets go of it.
pub struct Owned(pub Child);

impl Owned {
    /// Starts a command; its output goes to `log`.
    pub fn start(command: &[String], log: &Path) -> Self {
        Self::start_with(command, log, &[])
    }

    /// The same with more variables in its environment.
    pub fn start_with(command: &[String], log: &Path, environment: &[(&str, &str)]) -> Self {
        let output = File::create(log).expect("log");
        let (program, arguments) = command.split_first().expect("a command");
        let child = Command::new(program)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("log"))
            .stderr(output)
            .spawn()
            .expect("the program starts");
        Self(child)
    }

    /// Its pid.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).expect("a pid")
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
