//! R4: the master key is rotated while calls and administration go on, whatever is killed or goes away in the middle; also into a key management
//! service that keeps it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bailiwick_proto::admin::v1::{
    CreateOrganizationRequest, GetKeyMaterialRequest, GetRotationRequest, RotateMasterKeyRequest, Rotation,
};
use bailiwick_tests::{
    admin::{Admin, fresh},
    calls::Application,
    eventually,
    installation::{Installation, Process, Region},
    process::{Owned, binary, kill_hard, terminate},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

const REGION: &str = "eu-central-1";

/// Callers, and how many of their calls failed.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    callers: JoinSet<()>,
}

impl Load {
    pub(crate) fn start(region: &Region) -> Self {
        let load = Self {
            stop: Arc::default(),
            served: Arc::default(),
            failed: Arc::default(),
            callers: JoinSet::new(),
        };
        let mut load = load;
        for _ in 0..4 {
            let (application, model) = (Application::of(region), region.model.clone());
            let (stop, served, failed) =
                (Arc::clone(&load.stop), Arc::clone(&load.served), Arc::clone(&load.failed));
            load.callers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let answer = application.chat(&model, "one two three", false).await;
                    let good = answer.is_ok_and(|answer| answer.status().is_success());
                    if good { &served } else { &failed }.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        load
    }

    /// Calls that were served and that failed, since it began.
    pub(crate) async fn finish(mut self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        while self.callers.join_next().await.is_some() {}
        (self.served.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}

/// The region's control plane, which is started anew with other settings.
pub(crate) struct ControlPlane<'a> {
    pub(crate) process: &'a Process,
    configuration: PathBuf,
    running: Option<Owned>,
    environment: Vec<(&'static str, String)>,
}

impl<'a> ControlPlane<'a> {
    pub(crate) fn of(region: &'a Region) -> Self {
        let process = &region.processes.control_plane;
        let named = process.command.iter().position(|part| part == "--config").expect("a configuration");
        let configuration = PathBuf::from(&process.command[named + 1]);
        Self { process, configuration, running: None, environment: Vec::new() }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.running.as_ref().map_or(self.process.pid, Owned::pid)
    }

    /// Ends it in order, and waits for its end.
    pub(crate) async fn stop(&mut self) {
        terminate(self.pid());
        match &mut self.running {
            Some(running) => drop(running.0.wait()),
            None => {
                eventually("it has ended", || async {
                    (!bailiwick_tests::process::runs(self.process.pid)).then_some(())
                })
                .await
            }
        }
        self.running = None;
    }

    pub(crate) fn start(&mut self) {
        let mut command = vec!["/usr/bin/env".to_owned()];
        command.extend(self.environment.iter().map(|(name, value)| format!("{name}={value}")));
        command.extend(self.process.command.iter().cloned());
        self.running = Some(Owned::start(&command, &self.process.log.with_extension("again.log")));
    }

    pub(crate) async fn ready(&self) {
        eventually("the control plane is ready again", || async {
            let answer = reqwest::get(self.process.readyz()).await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// It was started anew, and says so in its log.
    pub(crate) async fn waits_for_its_key_service(&self) {
        let log = self.process.log.with_extension("again.log");
        eventually("it says what it waits for", || async {
            fs::read_to_string(&log).ok()?.contains("key management service is away").then_some(())
        })
        .await;
    }

    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.start();
        self.ready().await;
    }

    /// The folder where its master key lies.
    pub(crate) fn folder(&self) -> &Path {
        self.configuration.parent().expect("a folder")
    }

    /// Writes other master keys into its configuration, and small batches so that there is a middle.
    pub(crate) fn use_master_keys(&self, current: &str, previous: &str) {
        let text = fs::read_to_string(&self.configuration).expect("configuration");
        let mut table: toml::Table = text.parse().expect("TOML");
        let section = format!("{current}\n{previous}\n");
        table.insert("master_key".to_owned(), toml::Value::Table(section.parse().expect("TOML")));
        table.insert(
            "rotation".to_owned(),
            toml::Value::Table("batch = 20\npause_ms = 20".parse().expect("TOML")),
        );
        fs::write(&self.configuration, toml::to_string(&table).expect("TOML")).expect("configuration");
    }

    pub(crate) fn master_key_file(&self) -> String {
        let text = fs::read_to_string(&self.configuration).expect("configuration");
        let table: toml::Table = text.parse().expect("TOML");
        table["master_key"]["file"].as_str().expect("a file").to_owned()
    }

    /// Runs an offline command of it; gives whether it succeeded, and what it said.
    pub(crate) fn command(&self, arguments: &[&str]) -> (bool, String) {
        let output = Command::new(binary("bailiwick-control-plane"))
            .arg("--config")
            .arg(&self.configuration)
            .args(arguments)
            .envs(self.environment.iter().cloned())
            .output()
            .expect("it runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }
}

/// Organizations, made side by side.
pub(crate) async fn populate(admin: &Admin, organizations: usize) {
    let mut makers = JoinSet::new();
    for _ in 0..16 {
        let admin = admin.clone();
        makers.spawn(async move {
            for _ in 0..organizations.div_ceil(16) {
                create_organization(&admin).await;
            }
        });
    }
    while makers.join_next().await.transpose().expect("made").is_some() {}
}

pub(crate) async fn create_organization(admin: &Admin) {
    let request = CreateOrganizationRequest {
        idempotency_key: fresh(),
        region: REGION.to_owned(),
        name: "one of many".to_owned(),
        ..Default::default()
    };
    admin.organizations().create_organization(request).await.expect("an organization");
}

/// What needs the service says that it is away.
pub(crate) async fn refused_for_now(admin: &Admin) {
    eventually("a new organization is refused for now", || async {
        let request = CreateOrganizationRequest {
            idempotency_key: fresh(),
            region: REGION.to_owned(),
            name: "not now".to_owned(),
            ..Default::default()
        };
        let refused = admin.organizations().create_organization(request).await.err()?;
        let reason = bailiwick_proto::status::reason_of(&refused);
        (reason.as_deref() == Some("key_service_unavailable")).then_some(())
    })
    .await;
}

pub(crate) async fn rotate(admin: &Admin) -> Rotation {
    let request = RotateMasterKeyRequest { idempotency_key: fresh() };
    let begun = admin.key_material().rotate_master_key(request).await.expect("begun").into_inner();
    begun.rotation.expect("a rotation")
}

/// Polls until the rotation is as wanted; a control plane that is away does not answer.
pub(crate) async fn rotation_until(admin: &Admin, id: &str, wanted: impl Fn(&Rotation) -> bool) -> Rotation {
    eventually("the rotation is as far as wanted", || async {
        let request = GetRotationRequest { id: id.to_owned() };
        let answer = admin.key_material().get_rotation(request).await.ok()?.into_inner();
        answer.rotation.filter(|rotation| wanted(rotation))
    })
    .await
}

/// Names of the master keys that wrap a data key.
pub(crate) async fn master_keys(admin: &Admin) -> Vec<String> {
    let answer = admin.key_material().get_key_material(GetKeyMaterialRequest {}).await.expect("key material");
    answer.into_inner().uses.into_iter().map(|used| used.master_key).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_the_master_key_is_rotated_under_load_killed_half_way_and_goes_on() {
    let organizations = std::env::var("BAILIWICK_ROTATION_ORGANIZATIONS")
        .map_or(600, |count| count.parse().expect("a count"));
    let installation = Installation::start();
    let region = installation.region(REGION);
    let admin = Admin::of(REGION, region);
    populate(&admin, organizations).await;
    let mut control_plane = ControlPlane::of(region);
    let old = control_plane.master_key_file();
    let new = control_plane.folder().join("new.key");
    fs::write(&new, "cd".repeat(32)).expect("a new key");
    let new = new.display().to_string();

    let load = Load::start(region);
    // Without the key that wraps everything, it does not start, and says what is missing.
    control_plane.use_master_keys(&format!("file = {new:?}"), "");
    let (good, said) = control_plane.command(&["join-token", "--role", "worker", "--name", "no"]);
    assert!(!good && said.contains("[[master_key.previous]]"), "{said}");

    control_plane.use_master_keys(&format!("file = {new:?}"), &format!("previous = [{{ file = {old:?} }}]"));
    control_plane.restart().await;
    let begun = rotate(&admin).await;
    assert!(begun.total > u64::try_from(organizations).expect("few"), "{begun:?}");
    let half = rotation_until(&admin, &begun.id, |rotation| rotation.done >= rotation.total / 3).await;
    assert_eq!(half.finished_at_micros, 0, "killed in the middle: {half:?}");
    kill_hard(control_plane.pid());
    control_plane.start();
    control_plane.ready().await;
    let after = rotation_until(&admin, &begun.id, |rotation| rotation.done >= half.done).await;
    // Administration goes on meanwhile.
    create_organization(&admin).await;
    let over = rotation_until(&admin, &begun.id, |rotation| rotation.finished_at_micros > 0).await;
    assert!(after.done <= over.done && over.done == over.total, "{over:?}");
    assert_eq!(master_keys(&admin).await.len(), 1);

    // The old key is not needed any more.
    fs::remove_file(&old).expect("the old key");
    control_plane.use_master_keys(&format!("file = {new:?}"), "");
    control_plane.restart().await;
    create_organization(&admin).await;
    let (served, failed) = load.finish().await;
    assert!(served > 50, "{served} calls");
    assert_eq!(failed, 0, "of {served} calls");
    control_plane.stop().await;
    let (good, said) = control_plane.command(&["verify-store"]);
    assert!(good, "{said}");
}

/// A server of AWS's KMS interface, and a way to it that can be cut.
struct Kms {
    server: Child,
    key: String,
    endpoint: String,
    open: Arc<AtomicBool>,
    _way: JoinSet<()>,
}

impl Kms {
    /// moto (<https://docs.getmoto.org>), as its own users run it.
    async fn start(installation: &Installation, region: &str) -> Self {
        let (host, port) = (installation.outside, installation.spare_port);
        let python =
            std::env::var("BAILIWICK_SDK_PYTHON").expect("BAILIWICK_SDK_PYTHON: ./tests/run prepares it");
        let server = Command::new(python)
            .args(["-m", "moto.server", "-H", &host.to_string(), "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto starts");
        let direct = format!("http://{host}:{port}");
        eventually("moto answers", || async {
            reqwest::get(format!("{direct}/moto-api/data.json")).await.ok()
        })
        .await;
        let open = Arc::new(AtomicBool::new(true));
        let listener = TcpListener::bind((host, 0)).await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("address"));
        let mut way = JoinSet::new();
        way.spawn(pass(listener, (host, port).into(), Arc::clone(&open)));
        Self { server, key: create_key(&direct, region).await, endpoint, open, _way: way }
    }

    fn section(&self) -> String {
        format!("aws_kms = {{ key = {:?}, endpoint = {:?} }}", self.key, self.endpoint)
    }
}

impl Drop for Kms {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Connections are closed at once while the way is cut, and those that are open too.
async fn pass(listener: TcpListener, to: SocketAddr, open: Arc<AtomicBool>) {
    let mut connections = JoinSet::new();
    loop {
        let (mut here, _) = listener.accept().await.expect("a connection");
        let open = Arc::clone(&open);
        connections.spawn(async move {
            if !open.load(Ordering::Relaxed) {
                return;
            }
            let Ok(mut there) = TcpStream::connect(to).await else { return };
            tokio::select! {
                _ = copy_bidirectional(&mut here, &mut there) => {}
                () = cut(&open) => {}
            }
        });
    }
}

async fn cut(open: &AtomicBool) {
    while open.load(Ordering::Relaxed) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

async fn create_key(direct: &str, region: &str) -> String {
    let scope = format!(
        "AWS4-HMAC-SHA256 Credential=test/20260101/{region}/kms/aws4_request, SignedHeaders=host, Signature=0"
    );
    let request = reqwest::Client::new()
        .post(direct)
        .header("x-amz-target", "TrentService.CreateKey")
        .header("content-type", "application/x-amz-json-1.1")
        .header("authorization", scope)
        .body("{}");
    let answer: serde_json::Value = request.send().await.expect("moto").json().await.expect("JSON");
    answer["KeyMetadata"]["Arn"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_the_master_key_moves_into_a_key_management_service_that_goes_away_and_comes_back() {
    let installation = Installation::start();
    let region = installation.region(REGION);
    let admin = Admin::of(REGION, region);
    populate(&admin, 100).await;
    let kms = Kms::start(&installation, REGION).await;
    let mut control_plane = ControlPlane::of(region);
    let old = control_plane.master_key_file();
    control_plane.environment = vec![
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ];

    // A key of another region, and one that is in several, are refused before anything starts.
    for (from, to, said) in
        [(REGION, "us-east-1", "must lie in eu-central-1"), (":key/", ":key/mrk-", "multi-Region")]
    {
        let foreign = kms.section().replace(&format!("kms:{from}"), &format!("kms:{to}")).replace(from, to);
        control_plane.use_master_keys(&foreign, "");
        let (good, refusal) = control_plane.command(&["check-config"]);
        assert!(!good && refusal.contains(said), "{refusal}");
    }

    let load = Load::start(region);
    control_plane.use_master_keys(&kms.section(), &format!("previous = [{{ file = {old:?} }}]"));
    control_plane.restart().await;
    let begun = rotate(&admin).await;
    let half = rotation_until(&admin, &begun.id, |rotation| rotation.done > 0).await;
    assert_eq!(half.finished_at_micros, 0, "{half:?}");
    kms.open.store(false, Ordering::Relaxed);
    // What was unlocked before serves on; what needs the service says that it is away, and nothing is half made.
    refused_for_now(&admin).await;
    kms.open.store(true, Ordering::Relaxed);
    let over = rotation_until(&admin, &begun.id, |rotation| rotation.finished_at_micros > 0).await;
    assert_eq!(over.done, over.total);
    assert_eq!(master_keys(&admin).await, [kms.key.as_str()]);

    // A start while the service is away waits for it.
    fs::remove_file(&old).expect("the old key");
    control_plane.use_master_keys(&kms.section(), "");
    control_plane.stop().await;
    kms.open.store(false, Ordering::Relaxed);
    control_plane.start();
    control_plane.waits_for_its_key_service().await;
    kms.open.store(true, Ordering::Relaxed);
    control_plane.ready().await;
    create_organization(&admin).await;
    let (served, failed) = load.finish().await;
    assert!(served > 50, "{served} calls");
    assert_eq!(failed, 0, "of {served} calls");
    control_plane.stop().await;
    let (good, said) = control_plane.command(&["verify-store"]);
    assert!(good, "{said}");
}
