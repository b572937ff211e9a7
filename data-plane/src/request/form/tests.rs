use proptest::prelude::*;

use super::*;
use crate::request::splice;

fn form(parts: &[(&str, &str)]) -> Bytes {
    let mut body = String::new();
    for (head, value) in parts {
        body.push_str(&format!("--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n"));
    }
    format!("{body}--XX--\r\n").into()
}

fn kind() -> HeaderValue {
    HeaderValue::from_static("multipart/form-data; boundary=XX")
}

const FILE: (&str, &str) = (
    "name=\"file\"; filename=\"a \\\"b\\\"; name=model.mp3\"\r\nContent-Type: audio/mpeg",
    "\r\n--X\r\n\r\nname=\"model\"",
);

#[test]
fn the_model_is_found_before_and_behind_the_file_and_nothing_else_is_touched() {
    let model = ("name=\"model\"", "public");
    for parts in [[model, FILE], [FILE, model]] {
        let body = form(&parts);
        let asked = scan(&body, &kind()).unwrap();
        assert_eq!((asked.model.as_str(), asked.stream), ("public", false));
        let sent = splice(&body, &asked, "whisper-1", true);
        let expected = parts.map(|part| if part == model { (part.0, "whisper-1") } else { part });
        assert_eq!(sent, form(&expected));
    }
}

#[test]
fn a_form_says_whether_it_wants_a_stream() {
    let asked = |value| scan(&form(&[("name=model", "m"), ("name=\"stream\"", value)]), &kind());
    assert!(asked("true").unwrap().stream);
    assert!(!asked("false").unwrap().stream);
    assert!(asked("perhaps").is_err());
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let model = ("name=\"model\"", "m");
    let bad: [&[(&str, &str)]; 9] = [
        &[model, model],
        &[FILE],
        &[("name=\"model\"; name=\"file\"", "m")],
        &[("name*=utf-8''model; name=\"file\"", "m"), model],
        &[("name=\"mo\\del\"", "m"), model],
        &[("filename=\"a\"", "m"), model],
        &[("name=\"file\"\r\nContent-Disposition: form-data; name=\"model\"", "m"), model],
        &[("name=\"file\"\r\n folded: x", "m"), model],
        &[("name=\"model\"", "a\u{0}b\u{fffd}"), model],
    ];
    for parts in bad {
        assert!(scan(&form(parts), &kind()).is_err(), "{parts:?}");
    }
}

#[test]
fn a_form_that_is_none_is_refused() {
    let good = form(&[("name=\"model\"", "m")]);
    for end in 0..good.len() - 4 {
        assert!(scan(&good.slice(..end), &kind()).is_err(), "cut at {end}");
    }
    let many: Vec<_> =
        (0..=MOST_PARTS).map(|_| ("name=\"x\"", "y")).chain([("name=\"model\"", "m")]).collect();
    assert!(scan(&form(&many), &kind()).is_err());
    for kind in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=X X",
        "multipart/form-data; boundary=XX; boundary=XX",
        "multipart/form-data; boundary=\"XX",
    ] {
        assert!(scan(&good, &HeaderValue::from_static(kind)).is_err(), "{kind}");
    }
    assert!(
        scan(&good, &HeaderValue::from_static("multipart/form-data; charset=utf-8; BOUNDARY=\"XX\"")).is_ok()
    );
}

proptest! {
    #[test]
    fn whatever_bytes_come_it_ends(bytes: Vec<u8>, parts: Vec<(String, String)>) {
        let _ = scan(&Bytes::from(bytes), &kind());
        let parts: Vec<(&str, &str)> = parts.iter().map(|(head, value)| (head.as_str(), value.as_str())).collect();
        let _ = scan(&form(&parts), &kind());
    }
}
