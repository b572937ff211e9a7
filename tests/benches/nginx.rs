//! nginx as a bare reverse proxy: what a user would put in front of a provider who wanted nothing of what a gateway does. The measure of the rest.

use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;

/// A server that passes everything on. Ended on drop.
pub struct Nginx {
    server: Child,
    /// `host:port`.
    pub address: String,
}

impl Nginx {
    /// Starts it in a folder, in front of `upstream` (`host:port`). It runs as the bench does, with as many workers as there are processors.
    pub fn start(folder: &Path, port: u16, upstream: &str) -> anyhow::Result<Self> {
        let address = format!("127.0.0.1:{port}");
        let configuration = folder.join("nginx.conf");
        fs::write(&configuration, configure(folder, &address, upstream))?;
        let server = Command::new("nginx")
            .arg("-c")
            .arg(&configuration)
            .arg("-e")
            .arg(folder.join("nginx.log"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("nginx does not start: install it (deploy/local/install nginx-light nginx), or say --without-nginx")?;
        let mut nginx = Self { server, address };
        nginx.wait(&folder.join("nginx.log"))?;
        Ok(nginx)
    }

    /// Of its master; its workers are its children.
    pub fn pid(&self) -> u32 {
        self.server.id()
    }

    fn wait(&mut self, log: &Path) -> anyhow::Result<()> {
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(&self.address).is_err() {
            let ended = self.server.try_wait()?.is_some();
            let said = || fs::read_to_string(log).unwrap_or_default();
            anyhow::ensure!(!ended && Instant::now() < until, "nginx did not start: {}", said());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// The fastest that it can do honestly: a listener for each worker, connections to the upstream kept, nothing logged, nothing written to disk.
fn configure(folder: &Path, address: &str, upstream: &str) -> String {
    let folder = folder.display();
    format!(
        "daemon off; master_process on; worker_processes auto; pid {folder}/nginx.pid; error_log {folder}/nginx.log warn;
events {{ worker_connections 16384; }}
http {{
  access_log off; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 75s;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  client_body_buffer_size 64k; proxy_buffers 8 32k; proxy_buffer_size 32k;
  upstream provider {{ server {upstream}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen {address} reuseport;
    location / {{ proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}
  }}
}}
"
    )
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its master ends its workers when it is told so, and not when it is killed.
        if let Ok(pid) = i32::try_from(self.server.id()) {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        }
        let _ = self.server.wait();
    }
}
