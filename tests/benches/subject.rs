//! What is measured: an installation of its own, the provider that it calls, and nginx before the same.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;
use bailiwick_tests::{
    installation::Region,
    process::{runs, terminate},
    secure::{CA_FILE, Material},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{http::Target, keys, nginx::Nginx, process::Processes};

/// The region that is measured.
pub const REGION: &str = "eu-central-1";
/// The installation takes its ports from the other end.
const NGINX_PORT: u16 = 79;
const PROVIDER_PORT: u16 = 78;
const SECURE_PORT: u16 = 77;
const WITHIN: Duration = Duration::from_secs(120);

/// A way to the provider.
pub struct Through {
    /// What it is called.
    pub name: &'static str,
    /// Where its requests go.
    pub target: Target,
    /// What serves them; for the direct way, the provider itself.
    pub processes: Processes,
    /// Whether a stream takes one file of what serves it, and not two.
    pub one_file: bool,
    /// Whether idle streams go on slowly, rather than not at all.
    pub is_slow: bool,
}

/// Three regions that run; one of them is measured. Stopped on drop.
pub struct Subject {
    bin_dir: PathBuf,
    folder: TempDir,
    ports_from: u16,
    description: Value,
    provider: Owned,
    nginx: Option<Nginx>,
    http2: bool,
    /// The worker that is measured, when it was started anew.
    worker: Option<Owned>,
}

/// A process of this program. Ended on drop.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Subject {
    /// Starts it with the programs in `bin_dir`, or beside this one; and nginx in front of its provider. With `http2`, workers call that over TLS and HTTP/2.
    pub fn start(
        bin_dir: Option<PathBuf>,
        ports_from: u16,
        with_nginx: bool,
        http2: bool,
    ) -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let beside = own.parent().map(Path::to_owned);
        let bin_dir = bin_dir.or(beside).context("no folder of programs")?;
        let program = bin_dir.join("bailiwick-local");
        let missing = || format!("{} is not built: cargo build --release --workspace", program.display());
        anyhow::ensure!(program.exists(), missing());
        let folder = tempfile::Builder::new().prefix("bailiwick-bench-").tempdir()?;
        let address = format!("127.0.0.1:{}", ports_from + PROVIDER_PORT);
        let mut provider = Command::new(&own);
        provider.args(["provider", "--listen", &address]);
        if http2 {
            Material(folder.path()).make(Ipv4Addr::LOCALHOST.into())?;
            let secure = format!("127.0.0.1:{}", ports_from + SECURE_PORT);
            provider.args(["--secure", &secure, "--material"]).arg(folder.path());
        }
        let provider = Owned(provider.spawn()?);
        until("the provider listens", || TcpStream::connect(&address).is_ok())?;
        let nginx =
            with_nginx.then(|| Nginx::start(folder.path(), ports_from + NGINX_PORT, &address)).transpose()?;
        let description = Value::Null;
        let mut subject =
            Self { bin_dir, folder, ports_from, description, provider, nginx, http2, worker: None };
        subject.up()?;
        Ok(subject)
    }

    fn up(&mut self) -> anyhow::Result<()> {
        let upstream = match self.http2 {
            true => format!("https://127.0.0.1:{}/v1", self.ports_from + SECURE_PORT),
            false => format!("http://{}/v1", self.provider_address()),
        };
        let mut local = Command::new(self.bin_dir.join("bailiwick-local"));
        if self.http2 {
            local.env(CA_FILE, Material(self.folder.path()).authority());
        }
        let started = local
            .args(["up", "--detach", "--plain-workers", "--upstream", &upstream, "--upstream-model", "bench"])
            .args(["--ports-from", &self.ports_from.to_string(), "--state-dir"])
            .arg(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()?;
        anyhow::ensure!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        let text = std::fs::read_to_string(self.folder.path().join("local.json"))?;
        self.description = serde_json::from_str(&text)?;
        Ok(())
    }

    fn down(&mut self) {
        self.worker = None;
        let mut stop = Command::new(self.bin_dir.join("bailiwick-local"));
        let _ = stop.args(["down", "--state-dir"]).arg(self.folder.path()).stderr(Stdio::null()).status();
    }

    /// From the nearest to the farthest.
    pub fn ways(&self) -> Vec<Through> {
        let bench = |address: &str| Target {
            address: address.to_owned(),
            key: "any".to_owned(),
            model: "bench".to_owned(),
        };
        let pid = |pointer: &str| self.number(&format!("processes/{pointer}/pid"));
        let mut ways = vec![Through {
            name: "direct",
            target: bench(&self.provider_address()),
            processes: Processes::of(&[self.provider.0.id()]),
            one_file: true,
            is_slow: false,
        }];
        ways.extend(self.nginx.iter().map(|nginx| Through {
            name: "nginx",
            target: bench(&nginx.address),
            processes: Processes::of(&[nginx.pid()]),
            // Its processes share them.
            one_file: true,
            is_slow: false,
        }));
        ways.push(self.worker());
        let workers = [pid("workers/0"), pid("workers/1")].into_iter().filter(|pid| is_running(*pid));
        let running: Vec<u32> = [pid("router")].into_iter().chain(workers).collect();
        ways.push(Through {
            name: "router + worker",
            target: self.target(&host(self.text("base_url"))),
            processes: Processes::of(&running),
            one_file: false,
            is_slow: self.http2,
        });
        ways
    }

    /// Ends the second worker: on one machine, two would only take its processors from each other.
    pub fn leave_one_worker(&self) -> anyhow::Result<()> {
        let pid = self.number("processes/workers/1/pid");
        i32::try_from(pid).map(terminate)?;
        until("the second worker has ended", || !is_running(pid))
    }

    /// The worker alone.
    pub fn worker(&self) -> Through {
        let own = self.worker.as_ref().map(|worker| worker.0.id());
        let pid = own.unwrap_or_else(|| self.number("processes/workers/0/pid"));
        Through {
            name: "worker",
            target: self.target(self.text("processes/workers/0/plain_address")),
            processes: Processes::of(&[pid]),
            one_file: self.http2,
            is_slow: self.http2,
        }
    }

    /// Starts everything again with so many keys, and then the worker once more, alone. Gives how long that worker took from its start to serving.
    pub fn with_keys(&mut self, count: u64) -> anyhow::Result<Duration> {
        self.down();
        keys::fill(&self.folder.path().join(REGION).join("control-plane/region.db"), count)?;
        self.up()?;
        let pid = i32::try_from(self.number("processes/workers/0/pid"))?;
        terminate(pid);
        until("the worker has ended", || !runs(pid))?;
        let command = self.description.pointer(&format!("/regions/{REGION}/processes/workers/0/command"));
        let command: Vec<String> = serde_json::from_value(command.cloned().unwrap_or_default())?;
        let (program, arguments) = command.split_first().context("a command")?;
        let begun = Instant::now();
        let worker =
            Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        self.worker = Some(Owned(worker));
        let ops = self.text("processes/workers/0/metrics").to_owned();
        let ops = ops.trim_start_matches("http://").trim_end_matches("/metrics");
        until("the worker is ready", || is_ready(ops).unwrap_or(false))?;
        Ok(begun.elapsed())
    }

    /// The region that is measured.
    pub fn region(&self) -> anyhow::Result<Region> {
        let region = self.description.pointer(&format!("/regions/{REGION}")).cloned();
        Ok(serde_json::from_value(region.unwrap_or_default())?)
    }

    fn target(&self, address: &str) -> Target {
        let (key, model) = (self.text("api_key").to_owned(), self.text("model").to_owned());
        Target { address: address.to_owned(), key, model }
    }

    fn provider_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports_from + PROVIDER_PORT)
    }

    fn found(&self, path: &str) -> Option<&Value> {
        self.description.pointer(&format!("/regions/{REGION}/{path}"))
    }

    fn text(&self, path: &str) -> &str {
        self.found(path).and_then(Value::as_str).unwrap_or_default()
    }

    fn number(&self, path: &str) -> u32 {
        self.found(path).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
    }
}

fn is_running(pid: u32) -> bool {
    i32::try_from(pid).is_ok_and(runs)
}

fn host(url: &str) -> String {
    url.trim_start_matches("http://").trim_end_matches("/v1").to_owned()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + WITHIN;
    while !holds() {
        anyhow::ensure!(Instant::now() < deadline, "not within {} s: {what}", WITHIN.as_secs());
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn is_ready(ops: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(ops)?;
    stream
        .write_all(format!("GET /readyz HTTP/1.1\r\nhost: {ops}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.down();
    }
}
