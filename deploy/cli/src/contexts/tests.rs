use tempfile::TempDir;

use super::*;

const TOML: &str = r#"
current = "staging-eu"

[contexts.staging-eu]
admin = "cp.eu:8443"
region = "eu-central-1"
installation = "staging"
identity = "/etc/bailiwick/eu"

[contexts.staging-us]
admin = "cp.us:8443"
region = "us-east-1"
installation = "staging"
identity = "/etc/bailiwick/us"
router = "https://us.example.com/v1"

[contexts.live-us]
admin = "cp.live:8443"
region = "us-east-1"
installation = "live"
identity = "/etc/bailiwick/live"
"#;

fn local(regions: &[&str]) -> String {
    let process = serde_json::json!({"name": "p", "pid": 1, "log": "/tmp/p.log"});
    let region = |name: &&str| {
        let description = serde_json::json!({
            "base_url": "http://127.0.0.1:1/v1", "admin_addr": "127.0.0.1:2", "api_key": "bw_canary",
            "installation": "local", "operator_cert": format!("/state/{name}/operator/cert.pem"),
            "processes": {"control_plane": process, "workers": [process], "router": process},
        });
        ((*name).to_owned(), description)
    };
    let regions: serde_json::Map<_, _> = regions.iter().map(region).collect();
    serde_json::json!({ "regions": regions }).to_string()
}

/// With a usual file of contexts (`toml`), and a local installation that is named or not.
fn environment(directory: &TempDir, toml: Option<&str>, local: Option<&str>) -> Environment {
    let home = directory.path().join("config");
    fs::create_dir_all(home.join("bailiwick")).unwrap();
    if let Some(toml) = toml {
        fs::write(home.join("bailiwick/contexts.toml"), toml).unwrap();
    }
    let file = directory.path().join("local.json");
    if let Some(local) = local {
        fs::write(&file, local).unwrap();
    }
    let local = (local.is_some() || toml.is_none()).then_some(file);
    Environment { config: None, local, config_home: Some(home), no_color: true }
}

fn selection(context: Option<&str>, region: Option<&str>) -> Selection {
    Selection { context: context.map(str::to_owned), region: region.map(str::to_owned) }
}

#[test]
fn the_named_the_regions_or_the_current_context_is_used() {
    let directory = TempDir::new().unwrap();
    let environment = environment(&directory, Some(TOML), None);
    for (context, region, name) in [
        (None, None, "staging-eu"),
        (Some("staging-us"), None, "staging-us"),
        (None, Some("eu-central-1"), "staging-eu"),
        (Some("live-us"), Some("us-east-1"), "live-us"),
    ] {
        let found = Context::resolve(&selection(context, region), &environment).unwrap();
        assert_eq!(found.name, name);
    }
}

#[test]
fn what_is_not_clear_is_refused_and_never_guessed() {
    let directory = TempDir::new().unwrap();
    let environment = environment(&directory, Some(TOML), None);
    for (context, region, message) in [
        (Some("nobody"), None, "there is no context \"nobody\""),
        (None, Some("us-east-1"), "more than one context is of region \"us-east-1\""),
        (None, Some("us-west-1"), "there is no context of region \"us-west-1\""),
        (
            Some("live-us"),
            Some("eu-central-1"),
            "the context \"live-us\" is of region us-east-1, not of eu-central-1",
        ),
    ] {
        let failure = Context::resolve(&selection(context, region), &environment).unwrap_err();
        assert_eq!(failure.message, message);
        assert_eq!(failure.exit, crate::failure::Exit::Usage);
    }
}

#[test]
fn a_local_installation_of_several_regions_wants_one_named() {
    let directory = TempDir::new().unwrap();
    let environment = environment(&directory, None, Some(&local(&["eu-central-1", "us-east-1"])));
    let failure = Context::resolve(&selection(None, None), &environment).unwrap_err();
    insta::assert_snapshot!(failure.to_string(), @r"
    which region?
    hint: --region eu-central-1 | us-east-1
    ");
    let found = Context::resolve(&selection(None, Some("us-east-1")), &environment).unwrap();
    assert_eq!(found.identity, Path::new("/state/us-east-1/operator"));
    assert_eq!(found.processes.len(), 3);
    assert_eq!(found.router.as_deref(), Some("http://127.0.0.1:1/v1"));
}

#[test]
fn a_local_installation_of_one_region_needs_no_choice() {
    let directory = TempDir::new().unwrap();
    let environment = environment(&directory, None, Some(&local(&["eu-central-1"])));
    assert_eq!(Context::resolve(&selection(None, None), &environment).unwrap().name, "eu-central-1");
}

#[test]
fn a_local_installation_that_is_named_goes_before_the_usual_contexts() {
    let directory = TempDir::new().unwrap();
    let mut environment = environment(&directory, Some(TOML), Some(&local(&["us-west-1"])));
    assert_eq!(Context::resolve(&selection(None, None), &environment).unwrap().name, "us-west-1");
    environment.config = environment.contexts_file();
    assert_eq!(Context::resolve(&selection(None, None), &environment).unwrap().name, "staging-eu");
}

#[test]
fn without_anything_the_way_on_is_told() {
    let directory = TempDir::new().unwrap();
    let failure = Context::resolve(&selection(None, None), &environment(&directory, None, None)).unwrap_err();
    assert!(failure.message.starts_with("there is no context"), "{failure}");
    assert!(failure.hint.is_some());
}

#[test]
fn a_file_is_read_as_it_was_written_and_a_misspelt_one_is_refused() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("new/contexts.toml");
    assert_eq!(Contexts::read(&file).unwrap(), None);
    let contexts: Contexts = toml::from_str(TOML).unwrap();
    contexts.write(&file).unwrap();
    assert_eq!(Contexts::read(&file).unwrap(), Some(contexts));
    fs::write(&file, TOML.replace("installation", "instalation")).unwrap();
    assert!(Contexts::read(&file).is_err());
}
