use super::*;

fn handed_on(fd: &OwnedFd) -> Result<Variables, EnvironmentError> {
    let fd = nix::unistd::dup(fd).map_err(io::Error::from)?;
    Ok(parse(&receive(std::os::fd::IntoRawFd::into_raw_fd(fd))?))
}

#[test]
fn what_is_handed_on_comes_out_as_it_went_in_and_only_once() {
    let text = b"NAME=value\0EMPTY=\0ODD=a=b\nc\0=weird=x\0";
    let pipe = hand_on(text).expect("a pipe");
    let taken = handed_on(&pipe).expect("handed on");
    let value = |name: &str| taken.get(OsStr::new(name)).map(|value| value.as_slice());
    assert_eq!(taken.len(), 4);
    assert_eq!(value("NAME"), Some(&b"value"[..]));
    assert_eq!(value("EMPTY"), Some(&b""[..]));
    assert_eq!(value("ODD"), Some(&b"a=b\nc"[..]));
    assert_eq!(value("=weird"), Some(&b"x"[..]));
    assert!(handed_on(&pipe).expect("handed on").is_empty(), "nothing of it stays in the pipe");
}

#[test]
fn an_environment_larger_than_a_pipe_is_handed_on_or_refused_and_nobody_waits() {
    let large = vec![b'x'; 4 * PIPE_BYTES];
    let pipe = hand_on(&[b"LARGE=", &large[..], b"\0"].concat()).expect("a larger pipe");
    let taken = handed_on(&pipe).expect("handed on");
    assert_eq!(taken.get(OsStr::new("LARGE")).map(|value| value.len()), Some(large.len()));
    assert!(matches!(hand_on(&vec![b'x'; LARGEST_PIPE_BYTES + 1]), Err(EnvironmentError::TooLarge)));
}

#[test]
fn only_what_was_handed_on_is_believed() {
    let file = tempfile::tempfile().expect("a file");
    let fd = std::os::fd::IntoRawFd::into_raw_fd(file.try_clone().expect("a descriptor"));
    assert!(matches!(receive(fd), Err(EnvironmentError::NotHandedOn)));
    close(fd).expect("open still");
    assert!(matches!(receive(1_000_000), Err(EnvironmentError::Refused(_))));
}

#[test]
fn what_may_be_a_secret_does_not_stay() {
    for name in [
        "BAILIWICK_MASTER_KEY",
        "BAILIWICK_CONTROL_PLANE_STORE__URL",
        "OPENAI_API_KEY",
        "PGPASSWORD",
        "HTTPS_PROXY",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "PATHS",
        "",
    ] {
        assert!(!is_plain(OsStr::new(name)), "{name}");
    }
    for name in ["PATH", "LC_ALL", "NOTIFY_SOCKET", "AWS_REGION", "AWS_WEB_IDENTITY_TOKEN_FILE"] {
        assert!(is_plain(OsStr::new(name)), "{name}");
    }
    assert!(!is_plain(OsStr::from_bytes(b"LC_\xff")), "what cannot be read is not known to be harmless");
}
