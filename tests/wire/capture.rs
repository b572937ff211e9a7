//! Every byte that crosses an interface, in a file: tcpdump, in the router's namespace, at the router's end of each region's link.

use std::{
    fs::{self, File},
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use aho_corasick::AhoCorasick;
use bailiwick_tests::installation::REGIONS;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::namespaces::Namespaces;

/// KiB that the kernel keeps for tcpdump when that is late.
const BUFFER_KIB: &str = "1048576";
const PATIENCE: Duration = Duration::from_secs(60);
/// A port that nobody listens on (RFC 863).
const DISCARD: u16 = 9;

/// The capture of one region's interface. Ended on drop.
pub struct Capture {
    pub region: String,
    pub file: PathBuf,
    log: PathBuf,
    tcpdump: Child,
}

/// Captures of every region's interface, all of them under way.
pub fn begin(namespaces: &Namespaces) -> Vec<Capture> {
    REGIONS.iter().map(|region| Capture::begin(namespaces, region)).collect()
}

/// Ends captures when everything that has crossed so far is in their files.
pub fn end(namespaces: &Namespaces, captures: &mut [Capture]) {
    for capture in captures {
        capture.end(namespaces);
    }
}

impl Capture {
    fn begin(namespaces: &Namespaces, region: &str) -> Self {
        let file = namespaces.folder().join(format!("{region}.pcap"));
        let log = file.with_extension("log");
        let output = File::create(&log).expect("a log");
        // Before everybody else when it wants a processor: what it does not take in time is lost.
        let tcpdump = Command::new("nice")
            .args([
                "-n",
                "-15",
                "ip",
                "netns",
                "exec",
                &namespaces.router(),
                "tcpdump",
                "-n",
                "-U",
                "-s",
                "0",
                "-Z",
                "root",
            ])
            .args(["-B", BUFFER_KIB, "-i", region, "-w"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .expect("tcpdump: ./tests/run installs it");
        let mut capture = Self { region: region.to_owned(), file, log, tcpdump };
        capture.wait_for("tcpdump listens", |capture| capture.said().contains("listening on"));
        capture
    }

    /// What is in the file when a last packet is in it is everything: packets are written in their order.
    fn end(&mut self, namespaces: &Namespaces) {
        let last = format!("last{:032x}", rand::random::<u128>());
        let address = namespaces.network.description.regions[&self.region].address;
        namespaces.inside(&namespaces.outside(), || {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            socket.send_to(last.as_bytes(), SocketAddr::new(address, DISCARD)).expect("sent");
        });
        let marker = AhoCorasick::new([&last]).expect("a pattern");
        self.wait_for("the last packet is in the file", |capture| marker.is_match(&tail(&capture.file)));
        kill(Pid::from_raw(i32::try_from(self.tcpdump.id()).expect("a pid")), Signal::SIGINT)
            .expect("it runs");
        self.tcpdump.wait().expect("it ends");
        let said = self.said();
        // tcpdump(8): counted by the kernel, for want of buffer space.
        let complete = said.lines().any(|line| line.trim() == "0 packets dropped by kernel");
        assert!(complete, "the capture of {} is not complete:\n{said}", self.region);
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn wait_for(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            let ended = self.tcpdump.try_wait().expect("a status");
            assert!(ended.is_none() && Instant::now() < deadline, "never: {what}\n{}", self.said());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
    }
}

/// The end of a file that grows.
fn tail(file: &Path) -> Vec<u8> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = File::open(file).expect("the capture");
    let length = file.metadata().expect("its length").len();
    file.seek(SeekFrom::Start(length.saturating_sub(256 << 10))).expect("its end");
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).expect("its end");
    bytes
}
