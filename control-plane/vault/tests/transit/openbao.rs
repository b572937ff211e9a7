//! A server of OpenBao's own development mode: in memory, unsealed, on a port of its own. Ended by its pid when the test lets go of it.

use std::{
    fs,
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bailiwick_vault::TransitKey;
use tempfile::TempDir;

use crate::transit;

/// May do everything.
pub(crate) const ROOT: &str = "root-of-the-test";

pub(crate) struct OpenBao {
    program: String,
    child: Child,
    address: String,
    folder: TempDir,
}

impl OpenBao {
    pub(crate) fn start() -> Self {
        Self::start_as("http", &[])
    }

    pub(crate) fn start_with_tls() -> Self {
        Self::start_as("https", &["-dev-tls", "-dev-tls-cert-dir=."])
    }

    fn start_as(scheme: &str, more: &[&str]) -> Self {
        let program = program();
        let folder = tempfile::tempdir().expect("a folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        let child = Command::new(&program)
            .args(["server", "-dev", "-dev-no-store-token", "-dev-root-token-id", ROOT])
            .arg(format!("-dev-listen-address=127.0.0.1:{free}"))
            .args(more)
            .current_dir(folder.path())
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("bao starts");
        let server = Self { program, child, address: format!("{scheme}://127.0.0.1:{free}"), folder };
        server.wait_until("it serves", |server| server.command(&["status"]).status.success());
        server
    }

    /// Runs the client as root, and fails when it does.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn command(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("HOME", self.folder.path());
        command.env("BAO_ADDR", &self.address).env("BAO_TOKEN", ROOT);
        if self.address.starts_with("https") {
            command.env("BAO_CACERT", self.folder.path().join("vault-ca.pem"));
        }
        command.output().expect("bao runs")
    }

    /// An engine, and keys in it.
    pub(crate) fn transit(&self, mount: &str, keys: &[&str]) {
        self.run(&["secrets", "enable", &format!("-path={mount}"), "transit"]);
        for key in keys {
            self.run(&["write", "-f", &format!("{mount}/keys/{key}"), "type=aes256-gcm96"]);
        }
    }

    /// A token that may encrypt and decrypt with one key, and nothing else, and ends after `lifetime`.
    pub(crate) fn token(&self, key: &str, lifetime: &str) -> String {
        let allowed =
            |operation| format!("path \"transit/{operation}/{key}\" {{ capabilities = [\"update\"] }}\n");
        let policy = self.folder.path().join("policy.hcl");
        fs::write(&policy, allowed("encrypt") + &allowed("decrypt")).expect("a policy");
        self.run(&["policy", "write", key, &policy.display().to_string()]);
        let (policy, lifetime) = (format!("-policy={key}"), format!("-ttl={lifetime}"));
        self.run(&["token", "create", &policy, &lifetime, "-no-default-policy", "-field=token"])
    }

    pub(crate) fn key(&self, mount: &str, key: &str, token: &str) -> TransitKey {
        transit(&self.address, mount, key, token)
    }

    /// With the key that it printed at its start.
    pub(crate) fn unseal(&self) {
        let log = fs::read_to_string(self.folder.path().join("log")).expect("a log");
        let key = log.lines().find_map(|line| line.trim().strip_prefix("Unseal Key: ")).expect("a key");
        self.run(&["operator", "unseal", key]);
        self.wait_until("it is unsealed", |server| server.command(&["secrets", "list"]).status.success());
    }

    /// The certificate that vouches for a server with TLS.
    pub(crate) fn root_pem(&self) -> String {
        fs::read_to_string(self.folder.path().join("vault-ca.pem")).expect("a root")
    }

    pub(crate) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds(self) {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "not within a minute: {what}\n{log}");
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests have no configuration; this is how they are told of a program"
)]
fn program() -> String {
    std::env::var("BAILIWICK_TEST_OPENBAO")
        .expect("BAILIWICK_TEST_OPENBAO names the program `bao`: ./tests/run installs it")
}

impl Drop for OpenBao {
    fn drop(&mut self) {
        self.stop();
    }
}
