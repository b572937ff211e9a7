use std::io::Write as _;

use bailiwick_runtime::configuration::load;

use super::*;

const WHOLE: &str = r#"
[region]
name = "eu-central-1"
installation = "local"
[control_plane]
address = "127.0.0.1:7203"
enrollment_address = "127.0.0.1:7303"
join_token = { file = "/run/token" }
[identity]
dir = "/var/lib/bailiwick/identity"
name = "worker-1"
[serve]
listen = "127.0.0.1:7431"
[journal]
dir = "/var/lib/bailiwick/journal"
[ops]
listen = "127.0.0.1:9141"
"#;

fn check(text: &str) -> Result<Settings, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    load::<Settings>(Some(file.path()), "BAILIWICK_NO_SUCH_PREFIX_").map_err(|error| error.to_string())
}

#[test]
fn what_is_not_said_has_a_default() {
    let settings = check(WHOLE).unwrap();
    assert_eq!(settings.serve.advertise, "127.0.0.1:7431");
    assert_eq!(settings.serve.max_body_bytes, 10 * 1024 * 1024);
    assert_eq!(settings.serve.max_upload_bytes, 26 * 1024 * 1024);
    let least = 26 * 1024 * 1024;
    assert!(settings.serve.max_held_bytes >= least, "the largest body fits, twice, and the largest form");
    assert_eq!(settings.journal.max_bytes, 1 << 30);
    assert_eq!(settings.journal.fsync_interval, Duration::from_millis(50));
    assert_eq!(settings.upstream.first_byte_timeout, Duration::from_secs(120));
    assert_eq!(settings.drain.timeout, Duration::from_secs(30));
    assert!(settings.serve.cores.get() >= 1);
}

#[test]
fn every_problem_is_reported_at_once() {
    let text = WHOLE
        .replace("name = \"eu-central-1\"", "name = \"mars\"")
        .replace("address = \"127.0.0.1:7203\"", "address = \"nowhere\"")
        .replace(
            "listen = \"127.0.0.1:7431\"",
            "listen = \"0.0.0.0:7431\"\nplain_listen = \"10.0.0.1:80\"\ncolour = 1\nmax_held_bytes = 1000000",
        )
        .replace("[journal]", "[journal]\nmax_bytes = 1\nfsync_interval_ms = 0");
    let problems = check(&text).unwrap_err();
    for expected in [
        "region.name",
        "control_plane.address",
        "serve.advertise",
        "serve.plain_listen: must be a loopback address",
        "serve.colour",
        "serve.max_held_bytes",
        "journal.max_bytes",
        "journal.fsync_interval_ms",
    ] {
        assert!(problems.contains(expected), "{expected} is not in {problems}");
    }
}

#[test]
fn a_join_token_needs_a_place_to_use_it() {
    let text = WHOLE.replace("enrollment_address = \"127.0.0.1:7303\"\n", "");
    assert!(check(&text).unwrap_err().contains("control_plane.enrollment_address"));
}
