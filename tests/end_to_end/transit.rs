//! R4: the master key moves into the transit engine of a Vault (OpenBao here, which speaks its API) that is sealed and comes back.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process::Command,
};

use bailiwick_tests::{admin::Admin, eventually, installation::Installation, process::Owned};

use crate::keys::{
    ControlPlane, Load, create_organization, master_keys, populate, refused_for_now, rotate, rotation_until,
};

const REGION: &str = "eu-central-1";
const ROOT: &str = "root-of-the-test";

/// OpenBao in its development mode: in memory. Ended with the test.
struct Bao {
    _process: Owned,
    program: String,
    local: String,
    address: String,
    folder: PathBuf,
}

impl Bao {
    async fn start(installation: &Installation) -> Self {
        let program = std::env::var("BAILIWICK_TEST_OPENBAO").expect("./tests/run installs bao and names it");
        let folder = installation.folder().join("bao");
        fs::create_dir_all(&folder).expect("a folder");
        // Its own client comes over loopback, the control plane over TLS.
        let local = format!("127.0.0.1:{}", installation.spare_port + 7);
        let served = format!("{}:{}", installation.outside, installation.spare_port + 8);
        let configuration = listener(&folder, installation.outside, &served);
        let command = [
            &program,
            "server",
            "-dev",
            "-dev-no-store-token",
            "-dev-root-token-id",
            ROOT,
            "-dev-listen-address",
            &local,
            "-config",
            &configuration,
        ];
        let home = folder.display().to_string();
        let process = Owned::start_with(&command.map(str::to_owned), &folder.join("log"), &[("HOME", &home)]);
        let (local, address) = (format!("http://{local}"), format!("https://{served}"));
        let bao = Self { _process: process, program, local, address, folder };
        eventually("OpenBao serves", || async { bao.command(&["status"]).then_some(()) }).await;
        assert!(bao.command(&["secrets", "enable", "transit"]));
        assert!(bao.command(&["write", "-f", "transit/keys/master", "type=aes256-gcm96"]));
        fs::write(bao.folder.join("token"), ROOT).expect("a token");
        bao
    }

    fn command(&self, arguments: &[&str]) -> bool {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("HOME", &self.folder).env("BAO_ADDR", &self.local).env("BAO_TOKEN", ROOT);
        command.output().expect("bao runs").status.success()
    }

    fn unseal(&self) {
        let log = fs::read_to_string(self.folder.join("log")).expect("a log");
        let key = log.lines().find_map(|line| line.trim().strip_prefix("Unseal Key: ")).expect("a key");
        assert!(self.command(&["operator", "unseal", key]));
    }

    fn section(&self) -> String {
        let (token, root) = (self.folder.join("token"), self.folder.join("certificate.pem"));
        format!(
            "vault_transit = {{ address = {:?}, key = \"master\", root = {root:?}, token = {{ file = {token:?} }} }}",
            self.address
        )
    }
}

/// Configures a listener with a certificate of its own; gives the file.
fn listener(folder: &Path, host: IpAddr, address: &str) -> String {
    let made = rcgen::generate_simple_self_signed([host.to_string()]).expect("a certificate");
    let [certificate, key, configuration] =
        ["certificate.pem", "key.pem", "listener.hcl"].map(|name| folder.join(name));
    fs::write(&certificate, made.cert.pem()).expect("written");
    fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let text = format!(
        "listener \"tcp\" {{\n  address = {address:?}\n  tls_cert_file = {certificate:?}\n  tls_key_file = {key:?}\n}}\n"
    );
    fs::write(&configuration, text).expect("written");
    configuration.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_the_master_key_moves_into_a_transit_engine_that_is_sealed_and_comes_back() {
    let installation = Installation::start();
    let region = installation.region(REGION);
    let admin = Admin::of(REGION, region);
    populate(&admin, 100).await;
    let bao = Bao::start(&installation).await;
    let mut control_plane = ControlPlane::of(region);
    let old = control_plane.master_key_file();
    let load = Load::start(region);
    control_plane.use_master_keys(&bao.section(), &format!("previous = [{{ file = {old:?} }}]"));
    control_plane.restart().await;
    let begun = rotate(&admin).await;
    rotation_until(&admin, &begun.id, |rotation| rotation.done > 0).await;

    // Sealed in the middle: what was unlocked serves on, what needs the engine says that it is away.
    assert!(bao.command(&["operator", "seal"]));
    refused_for_now(&admin).await;
    bao.unseal();
    let over = rotation_until(&admin, &begun.id, |rotation| rotation.finished_at_micros > 0).await;
    assert_eq!(over.done, over.total);
    assert_eq!(master_keys(&admin).await, ["vault-transit:transit/master"]);

    // A start while it is sealed waits for it.
    fs::remove_file(&old).expect("the old key");
    control_plane.use_master_keys(&bao.section(), "");
    control_plane.stop().await;
    assert!(bao.command(&["operator", "seal"]));
    control_plane.start();
    control_plane.waits_for_its_key_service().await;
    bao.unseal();
    control_plane.ready().await;
    create_organization(&admin).await;
    let (served, failed) = load.finish().await;
    assert!(served > 50, "{served} calls");
    assert_eq!(failed, 0, "of {served} calls");
    control_plane.stop().await;
    let (good, said) = control_plane.command(&["verify-store"]);
    assert!(good, "{said}");
}
