use super::*;

/// A preface of these bytes behind its signature, and these addresses.
fn preface(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
    [SIGNATURE, &[version_and_command, family], &length, rest].concat()
}

const V4: [u8; 12] = [203, 0, 113, 7, 192, 0, 2, 1, 0xd4, 0x31, 0x01, 0xbb];

fn v6(source: &str) -> Vec<u8> {
    let source: std::net::Ipv6Addr = source.parse().expect("an address");
    [&source.octets()[..], &[0; 16], &[0, 1, 0, 2]].concat()
}

fn said(bytes: &[u8]) -> Result<Option<String>, MalformedPreface> {
    announced(bytes).map(|address| address.map(|address| address.to_string()))
}

#[test]
fn a_preface_names_the_caller() {
    assert_eq!(said(&preface(0x21, 0x11, &V4)), Ok(Some("203.0.113.7".into())));
    assert_eq!(said(&preface(0x21, 0x21, &v6("2001:db8::7"))), Ok(Some("2001:db8::7".into())));
    assert_eq!(said(&preface(0x21, 0x21, &v6("::ffff:203.0.113.7"))), Ok(Some("203.0.113.7".into())));
    // Additional information, whatever it is.
    let more = [&V4[..], &[0xea, 0, 3, 1, 2, 3], &[0xff; 40]].concat();
    assert_eq!(said(&preface(0x21, 0x11, &more)), Ok(Some("203.0.113.7".into())));
}

#[test]
fn a_hop_may_speak_for_itself_or_for_nobody_with_an_address() {
    for nobody in [
        preface(0x20, 0x00, &[]),
        preface(0x20, 0x11, &V4),
        preface(0x21, 0x00, &[1, 2, 3]),
        preface(0x21, 0x31, &[b'/'; 216]),
    ] {
        assert_eq!(said(&nobody), Ok(None));
    }
}

#[test]
fn what_is_not_exactly_one_preface_is_none() {
    let good = preface(0x21, 0x11, &V4);
    assert!((0..good.len()).all(|length| said(&good[..length]).is_err()));
    for bad in [
        [&good[..], b"G"].concat(),
        preface(0x11, 0x11, &V4),
        preface(0x22, 0x11, &V4),
        preface(0x21, 0x13, &V4),
        preface(0x21, 0x12, &V4),
        preface(0x21, 0x41, &V4),
        preface(0x21, 0x11, &V4[..11]),
        preface(0x21, 0x21, &V4),
        b"PROXY TCP4 203.0.113.7 192.0.2.1 54321 443\r\n".to_vec(),
    ] {
        assert_eq!(said(&bad), Err(MalformedPreface), "{bad:?}");
    }
}

#[tokio::test]
async fn nothing_behind_a_preface_is_read_and_no_length_is_waited_for_that_is_too_large() {
    let mut stream = &[&preface(0x21, 0x11, &V4)[..], b"GET /"].concat()[..];
    assert_eq!(read(&mut stream).await.expect("read"), "203.0.113.7".parse().ok());
    assert_eq!(stream, b"GET /");
    let mut huge = &[SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat()[..];
    assert!(matches!(read(&mut huge).await, Err(PrefaceError::Malformed(_))));
    let mut other = &b"GET /v1/models HTTP/1.1\r\n\r\n"[..];
    assert!(matches!(read(&mut other).await, Err(PrefaceError::Missing)));
    for unused in [&b""[..], b"\r\n\r\n"] {
        let mut unused = unused;
        assert!(matches!(read(&mut unused).await, Err(PrefaceError::Unused)));
    }
}
