//! The environment, read in one place and taken out of sight.
//!
//! What a process was started with stays in its initial environment block, which `/proc/<pid>/environ` shows for as long as it lives (proc(5)), and which every
//! child inherits. So a process puts everything that is not known to be harmless into a pipe and executes itself anew, as the same process, with what is
//! left: from then on secrets stand in its memory alone, and only as long as start-up takes they stood in its environment.
//!
//! Which variables hold secrets only the configuration says, and that may come from variables itself: hence a list of what stays.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd, RawFd},
        unix::{
            ffi::{OsStrExt as _, OsStringExt as _},
            fs::FileTypeExt as _,
            process::CommandExt as _,
        },
    },
    process::Command,
    sync::OnceLock,
};

use figment::value::Value;
use nix::{
    fcntl::{FcntlArg, FdFlag, OFlag, fcntl},
    unistd::{close, pipe2},
};
use zeroize::Zeroizing;

/// Names the descriptor of the pipe that holds the rest of the environment.
const HANDED_ON: &str = "BAILIWICK_ENVIRONMENT_FD";
/// What a pipe holds unless it is asked for more, and what it holds at most without privileges (pipe(7)).
const PIPE_BYTES: usize = 64 * 1024;
const LARGEST_PIPE_BYTES: usize = 1024 * 1024;

/// Stay where they are, because libraries and service managers read them there, and none is a secret.
const PLAIN: [&str; 26] = [
    "BAILIWICK_CONFIG",
    "BAILIWICK_CONTROL_PLANE_CONFIG",
    "BAILIWICK_LOCAL",
    "BAILIWICK_WORKER_CONFIG",
    "COLUMNS",
    "HOME",
    "HOSTNAME",
    "LANG",
    "LANGUAGE",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LOGNAME",
    "NOTIFY_SOCKET",
    "NO_COLOR",
    "PATH",
    "PWD",
    "RUST_BACKTRACE",
    "SHELL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
    "WATCHDOG_USEC",
];
const PLAIN_PREFIXES: [&str; 3] = ["AWS_", "LC_", "XDG_"];
/// Secrets among those, as AWS's tools name them.
const SECRET_AWS: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SECURITY_TOKEN",
    "AWS_SESSION_TOKEN",
];

type Variables = BTreeMap<OsString, Zeroizing<Vec<u8>>>;

/// What was taken out of the environment. Set once, before the process has a second thread.
static TAKEN: OnceLock<Variables> = OnceLock::new();

/// Takes everything out of this process's environment that may be a secret; [`variable`] and configurations find it still. To be called before there is a
/// second thread. It may not return: the process executes itself anew then, and comes here again with nothing left to take.
///
/// # Errors
/// The system refuses. Do not start then: what was to be hidden is not.
pub fn take_environment() -> Result<(), EnvironmentError> {
    if let Some(fd) = variable_os(HANDED_ON) {
        let fd = fd.to_str().and_then(|fd| fd.parse().ok()).ok_or(EnvironmentError::NotHandedOn)?;
        let _once = TAKEN.set(parse(&receive(fd)?));
        return Ok(());
    }
    let taken: Vec<(OsString, OsString)> = std::env::vars_os().filter(|(name, _)| !is_plain(name)).collect();
    // Without `/proc` nobody can look, and nothing can be handed on.
    if taken.is_empty() || !cfg!(target_os = "linux") {
        return Ok(());
    }
    Err(execute_anew(&taken))
}

/// The value of a variable, wherever it is now.
pub fn variable(name: &str) -> Option<Zeroizing<String>> {
    let taken = TAKEN.get().and_then(|taken| taken.get(OsStr::new(name)));
    let value = match taken {
        Some(bytes) => bytes.clone(),
        None => Zeroizing::new(variable_os(name)?.into_vec()),
    };
    std::str::from_utf8(&value).ok().map(|text| Zeroizing::new(text.to_owned()))
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
fn variable_os(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn is_plain(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    PLAIN.contains(&name)
        || (PLAIN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && !SECRET_AWS.contains(&name))
}

/// Gives what went wrong: otherwise nobody is here any more to be told.
fn execute_anew(taken: &[(OsString, OsString)]) -> EnvironmentError {
    let mut text = Zeroizing::new(Vec::new());
    for (name, value) in taken {
        text.extend_from_slice(name.as_bytes());
        text.push(b'=');
        text.extend_from_slice(value.as_bytes());
        text.push(0);
    }
    let rest = match hand_on(&text) {
        Ok(rest) => rest,
        Err(refused) => return refused,
    };
    let mut arguments = std::env::args_os();
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return EnvironmentError::Refused(error),
    };
    let mut again = Command::new(&program);
    again.arg0(arguments.next().unwrap_or_else(|| program.into_os_string())).args(arguments);
    for (name, _) in taken {
        again.env_remove(name);
    }
    again.env(HANDED_ON, rest.as_raw_fd().to_string());
    EnvironmentError::Refused(again.exec())
}

/// A pipe that holds the bytes, and that survives the execution of another program. It is filled before there is a reader, so it must hold all of them.
fn hand_on(bytes: &[u8]) -> Result<OwnedFd, EnvironmentError> {
    let (rest, into) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(io::Error::from)?;
    if bytes.len() > LARGEST_PIPE_BYTES {
        return Err(EnvironmentError::TooLarge);
    }
    if bytes.len() > PIPE_BYTES {
        let wanted = i32::try_from(bytes.len()).map_err(|_| EnvironmentError::TooLarge)?;
        fcntl(&into, FcntlArg::F_SETPIPE_SZ(wanted)).map_err(io::Error::from)?;
    }
    File::from(into).write_all(bytes)?;
    fcntl(&rest, FcntlArg::F_SETFD(FdFlag::empty())).map_err(io::Error::from)?;
    Ok(rest)
}

/// Empties the pipe and closes it: no child inherits it.
fn receive(fd: RawFd) -> Result<Zeroizing<Vec<u8>>, EnvironmentError> {
    let mut pipe = File::open(format!("/proc/self/fd/{fd}"))?;
    if !pipe.metadata()?.file_type().is_fifo() {
        return Err(EnvironmentError::NotHandedOn);
    }
    close(fd).map_err(io::Error::from)?;
    // As large as it may become at once, so that nothing is left behind where a smaller one was.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST_PIPE_BYTES + 1));
    pipe.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Variables {
    let each = bytes.split(|byte| *byte == 0).filter_map(|line| {
        // A name may begin with `=`, and then goes on.
        let at = line.iter().skip(1).position(|byte| *byte == b'=')? + 1;
        let (name, value) = line.split_at_checked(at)?;
        Some((OsStr::from_bytes(name).to_owned(), Zeroizing::new(value.get(1..)?.to_vec())))
    });
    each.collect()
}

/// Settings that variables override: key paths and values, of variables `<PREFIX>SECTION__KEY` that were taken.
pub(super) fn overrides(prefix: &str) -> Vec<(String, Value)> {
    let taken = TAKEN.get().into_iter().flatten();
    let each = taken.filter_map(|(name, value)| {
        let key = name.to_str()?.strip_prefix(prefix)?;
        let path: Vec<String> = key.split("__").map(str::to_ascii_lowercase).collect();
        // Settings all stand in sections; a variable without `__` is something else, such as the target of a `SecretSource`.
        if path.len() < 2 || path.iter().any(String::is_empty) {
            return None;
        }
        // Never an error: what is no number and no list is a text.
        let value = std::str::from_utf8(value).ok()?.parse().ok()?;
        Some((path.join("."), value))
    });
    each.collect()
}

/// Variables would stay readable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// No pipe, or the program cannot be executed again.
    #[error("the environment cannot be hidden: the system does not let this process execute itself anew")]
    Refused(#[from] io::Error),
    /// Larger than the system hands on.
    #[error("the environment is larger than 1 MiB: start this process with less of it")]
    TooLarge,
    /// The variable is this module's own.
    #[error("the variable {HANDED_ON} is set, and names nothing that was handed on: do not set it")]
    NotHandedOn,
}

#[cfg(test)]
mod tests;
