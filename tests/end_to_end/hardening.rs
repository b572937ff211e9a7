//! R8 and R4: what a process has in memory leaves no trace of it on its machine: not in a core dump, not in its arguments, not in its environment.

use std::{
    fs::{self, File},
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::Path,
    process::{Command, Stdio},
};

use bailiwick_tests::{
    admin::Admin,
    calls::Application,
    canary::Canaries,
    eventually,
    installation::{Installation, Process},
    process::{Owned, binary, runs, terminate},
};
use nix::{
    sys::{
        resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit},
        signal::{Signal, kill},
    },
    unistd::Pid,
};

/// Files that look like a core dump, in a folder and below.
fn cores(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() {
            found.extend(cores(&path));
        } else if name == "core" || name.starts_with("core.") {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_no_process_leaves_its_memory_or_a_secret_to_others() {
    // What starts them allows core dumps of any size, as far as it may itself.
    let (_, hard) = getrlimit(Resource::RLIMIT_CORE).expect("limit");
    setrlimit(Resource::RLIMIT_CORE, hard, hard).expect("allowed");
    let installation = Installation::start();
    let region = installation.region("eu-central-1");
    let master_key = fs::read_to_string(region.state_dir.join("control-plane/master.key"));
    let master_key = master_key.expect("the local installation keeps it here");
    let operator_key = fs::read_to_string(&region.operator_key).expect("a key");
    let secrets = [master_key.trim(), region.api_key.as_str(), operator_key.lines().nth(1).expect("PEM")];
    for process in region.processes.all() {
        let read = |name: &str| {
            let bytes = fs::read(format!("/proc/{}/{name}", process.pid)).expect("it runs, and we are root");
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let limits = read("limits");
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a line");
        assert_eq!(core.split_whitespace().rev().take(3).collect::<Vec<_>>(), ["bytes", "0", "0"], "{core}");
        for place in ["cmdline", "environ"] {
            let text = read(place);
            for secret in secrets {
                assert!(!text.contains(secret), "{} has a secret in its {place}", process.name);
            }
        }
    }
    if hard == RLIM_INFINITY {
        let worker = &region.processes.workers[0];
        kill(Pid::from_raw(worker.pid), Signal::SIGABRT).expect("it runs");
        eventually("it has ended", || async { (!runs(worker.pid)).then_some(()) }).await;
        let here = std::env::current_dir().expect("a folder");
        let beside = binary("bailiwick-worker").parent().expect("a folder").to_owned();
        for folder in [installation.folder(), &here] {
            assert_eq!(cores(folder), Vec::<String>::new());
        }
        assert!(!beside.join("core").exists());
    }
}

/// Not root, and not anybody's: `nobody` (Debian's base-passwd).
const NOBODY: u32 = 65_534;
/// Stands in variables that a process is started with.
const SECRET: &str = "canaryvariable5d0e";

/// What the system shows of a process, and of all that it has started.
fn shown(pid: i32) -> Vec<u8> {
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let mut shown = [read("environ"), read("cmdline"), read("comm")].concat();
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        shown
            .extend(children.split_whitespace().flat_map(|child| self::shown(child.parse().expect("a pid"))));
    }
    shown
}

/// Starts a process of the installation again, with these variables; gives it once it is ready.
async fn again(process: &Process, environment: &[(&str, &str)]) -> Owned {
    terminate(process.pid);
    eventually("it has ended", || async { (!runs(process.pid)).then_some(()) }).await;
    let started = Owned::start_with(&process.command, &process.log.with_extension("again.log"), environment);
    eventually("it is ready", || async {
        reqwest::get(process.readyz()).await.ok().filter(|answer| answer.status().is_success()).map(|_| ())
    })
    .await;
    started
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_a_secret_in_a_variable_stands_there_no_longer_than_a_start_takes() {
    let installation = Installation::start();
    let region = installation.region("eu-central-1");
    let folder = region.state_dir.join("control-plane");
    // The master key is given in a variable, the store in another, and more stands there than these processes ask for.
    let (file, config) = (folder.join("master.key"), folder.join("config.toml"));
    let master_key = fs::read_to_string(&file).expect("a master key").trim().to_owned();
    fs::remove_file(&file).expect("removed");
    let text = fs::read_to_string(&config).expect("a configuration");
    let named = format!("file = \"{}\"", file.display());
    assert!(text.contains(&named), "{text}");
    let store = format!("sqlite://{}", folder.join("region.db").display());
    let text = text.replace(&named, "env = \"MASTER\"").replace(&store, "sqlite:///nowhere/else.db");
    fs::write(&config, text).expect("written");

    let others = [("SOMEBODYS_TOKEN", SECRET), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    let store = ("BAILIWICK_CONTROL_PLANE_STORE__URL", store.as_str());
    let environment = [&[("MASTER", master_key.as_str()), store], &others[..]].concat();
    let control_plane = again(&region.processes.control_plane, &environment).await;
    let bound = ("BAILIWICK_WORKER_SERVE__MAX_BODY_BYTES", "2048");
    let mut started = vec![control_plane];
    for worker in &region.processes.workers {
        started.push(again(worker, &[&[bound], &others[..]].concat()).await);
    }
    let enabled = ("BAILIWICK_ROUTER_SIGNUP__ENABLED", "false");
    started.push(again(&region.processes.router, &[&[enabled], &others[..]].concat()).await);

    let canaries = Canaries::new(&[SECRET]);
    for process in &started {
        let shown = shown(process.pid());
        let text = String::from_utf8_lossy(&shown);
        canaries.assert_absent("the environment", &shown);
        assert!(text.contains("PATH=") && text.contains("bailiwick-"), "what is no secret stays: {text}");
        for gone in [&master_key, "MASTER=", "SOMEBODYS_TOKEN", "MAX_BODY_BYTES", "STORE__URL", "ENABLED"] {
            assert!(!text.contains(gone), "{gone} stands in {text}");
        }
        // Nor does the descriptor that it came through lead back to it.
        let through = text.split('\0').find_map(|line| line.strip_prefix("BAILIWICK_ENVIRONMENT_FD="));
        let through = through.expect("it was handed on");
        let leads = fs::read_link(format!("/proc/{}/fd/{through}", process.pid())).unwrap_or_default();
        assert!(!leads.display().to_string().starts_with("pipe:"), "{}", leads.display());
    }
    // What the variables said was heard.
    let admin = Admin::of("eu-central-1", region);
    admin.new_credential(&region.organization, "sealed-under-the-master-key").await;
    let application = Application::of(region);
    eventually("calls are served", || async {
        let answer = application.chat(&region.model, "hello", false).await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
    let large = application.chat(&region.model, &"x".repeat(4096), false).await.expect("answer");
    assert_eq!(large.status(), 413);
    let signup = application.http.post(format!("{}/signup?region=eu-central-1", application.base_url));
    assert_eq!(signup.json(&serde_json::json!({})).send().await.expect("answer").status(), 404);
}

/// Another user than root cannot even read what belongs to its own processes.
#[test]
fn r4_a_process_is_closed_to_its_own_user() {
    let folder = tempfile::tempdir().expect("folder");
    let config = folder.path().join("config.toml");
    let token = folder.path().join("token");
    fs::write(&token, "").expect("written");
    // Nobody answers it there, so it waits for its certificate.
    let text = format!(
        "[region]\nname = \"eu-central-1\"\ninstallation = \"local\"\n[control_plane]\naddress = \"127.0.0.1:1\"\n\
         enrollment_address = \"127.0.0.1:1\"\njoin_token = {{ env = \"TOKEN\" }}\n[identity]\ndir = \"{0}/identity\"\n\
         [serve]\nlisten = \"127.0.0.1:0\"\n[journal]\ndir = \"{0}/journal\"\n[ops]\nlisten = \"127.0.0.1:0\"\n",
        folder.path().display()
    );
    fs::write(&config, text).expect("written");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("allowed");
    chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("we are root");
    // A program that its user may read is as open as its user's files, were it not hardened.
    let program = folder.path().join("bailiwick-worker");
    fs::copy(binary("bailiwick-worker"), &program).expect("copied");
    let log = File::create(folder.path().join("log")).expect("a log");
    // A token of this region, whose control plane does not exist.
    let ca = bailiwick_domain::key::CaFingerprint([7; 32]);
    let region = bailiwick_domain::region::Regions::builtin();
    let region = region.by_name_str("eu-central-1").expect("a region").code;
    let join_token = bailiwick_domain::key::JoinToken::generate(region, ca);
    let child = Command::new(&program)
        .args(["serve", "--config"])
        .arg(&config)
        .env("TOKEN", join_token.expose())
        .uid(NOBODY)
        .gid(NOBODY)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .spawn()
        .expect("it starts");
    let worker = Owned(child);
    let log = || fs::read_to_string(folder.path().join("log")).expect("a log");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !log().contains("the control plane does not answer yet") {
        assert!(runs(worker.pid()) && std::time::Instant::now() < deadline, "{}", log());
        std::thread::yield_now();
    }
    for place in ["environ", "mem", "maps", "fd/0"] {
        let path = format!("/proc/{}/{place}", worker.pid());
        let reader = Command::new("head").args(["-c", "1", &path]).uid(NOBODY).gid(NOBODY).output();
        let reader = reader.expect("head");
        assert!(!reader.status.success(), "{path} is open to its own user");
        let said = String::from_utf8_lossy(&reader.stderr).into_owned();
        assert!(said.contains("Permission denied"), "{said}");
    }
    let shown = String::from_utf8_lossy(&shown(worker.pid())).into_owned();
    assert!(shown.contains("PATH=") && !shown.contains("bwjoin_") && !shown.contains("TOKEN="), "{shown}");
}

#[test]
fn r4_no_argument_takes_a_secret() {
    for url in ["postgres://user:canaryargument@host/db", "postgres://host/db?password=canaryargument"] {
        let installation = tempfile::tempdir().expect("folder");
        let config = installation.path().join("config.toml");
        fs::write(&config, CONTROL_PLANE).expect("written");
        let output = Command::new(binary("bailiwick-control-plane"))
            .args(["verify-store", "--store", url, "--config"])
            .arg(&config)
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("--store has a password in it"), "{said}");
        assert!(!said.contains("canaryargument"), "{said}");
    }
    // Everything else that is named like one: what takes no value, or the place of one.
    for program in ["bailiwick", "bailiwick-control-plane", "bailiwick-worker", "bailiwick-router"] {
        for (command, flag) in flags(program, &[]) {
            let words = ["secret", "password", "token", "key", "credential"];
            let named = words.iter().any(|word| flag.to_ascii_lowercase().contains(word));
            // How long keys are kept is no key, and how many tokens is no token.
            let places = ["FILE", "ID", "NAME", "DIR", "PATH", "HOST:PORT", "KEYS_FOR", "TOKENS"];
            let harmless = !flag.contains(['<', '[']) || places.iter().any(|value| flag.contains(value));
            assert!(!named || harmless, "{program} {command} takes {flag}");
        }
    }
}

const CONTROL_PLANE: &str = r#"
master_key = { file = "/no/such/key" }
[region]
name = "eu-central-1"
installation = "local"
[store]
url = "sqlite:///no/such/store.db"
[admin]
listen = "127.0.0.1:0"
[workers]
listen = "127.0.0.1:0"
[enrollment]
listen = "127.0.0.1:0"
[identity]
dir = "/no/such/folder"
[egress]
hosts = []
[ops]
listen = "127.0.0.1:0"
"#;

/// The flags and arguments of a program and of all its commands, as its help shows them.
fn flags(program: &str, command: &[String]) -> Vec<(String, String)> {
    let output = Command::new(binary(program)).args(command).arg("--help").output().expect("it starts");
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut found = Vec::new();
    let mut section = "";
    for line in help.lines() {
        if !line.starts_with(' ') && line.ends_with(':') {
            section = line;
        }
        let entry = line.trim_start();
        let indent = line.len() - entry.len();
        if section == "Commands:" && indent == 2 {
            let name = entry.split_whitespace().next().unwrap_or_default();
            if name != "help" {
                found.extend(flags(program, &[command, &[name.to_owned()]].concat()));
            }
        } else if (section == "Options:" || section == "Arguments:")
            && (entry.starts_with(['-', '<']) || indent == 2)
        {
            // What it is, without what is said of it.
            let flag = entry.split("  ").next().unwrap_or_default();
            found.push((command.join(" "), flag.to_owned()));
        }
    }
    found
}
