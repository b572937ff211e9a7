use proptest::prelude::*;

use super::*;

fn form(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut body = String::new();
    for (head, value) in parts {
        body.push_str(&format!("--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n"));
    }
    format!("{body}--XX--\r\n").into()
}

fn kind() -> HeaderValue {
    HeaderValue::from_static("multipart/form-data; boundary=XX")
}

/// Reads a form in pieces of these lengths, over and over. What goes on is what came, at every moment but for a bound of bytes.
fn read_in(body: &[u8], lengths: &[usize]) -> Result<(Asked, Range<usize>), ApiError> {
    let (mut reader, mut kept, mut gone) = (Form::new(&kind())?, Vec::new(), Vec::new());
    let mut rest = body;
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let piece;
        (piece, rest) = rest.split_at((*length).clamp(1, rest.len()));
        kept.extend_from_slice(piece);
        let done = reader.read(&kept)?;
        gone.extend(kept.drain(..done));
        assert!(kept.len() <= LONGEST_HEAD, "{} bytes are kept", kept.len());
        assert!(body.starts_with(&gone));
    }
    reader.end()?;
    assert_eq!(gone, body);
    let asked = reader.asked()?;
    let at = asked.model_at.clone();
    Ok((asked, at))
}

/// The same, however it is cut.
fn read(body: &[u8]) -> Result<(Asked, Range<usize>), ApiError> {
    let at_once = read_in(body, &[usize::MAX]);
    for length in [1, 2, 3, 7] {
        let in_pieces = read_in(body, &[length]);
        assert_eq!(in_pieces.is_ok(), at_once.is_ok(), "in pieces of {length}");
        if let (Ok((_, one)), Ok((_, other))) = (&in_pieces, &at_once) {
            assert_eq!(one, other);
        }
    }
    at_once
}

const FILE: (&str, &str) = (
    "name=\"file\"; filename=\"a %22b%22; model.mp3\"\r\nContent-Type: audio/mpeg",
    "\r\n--X\r\n\r\nname=\"model\"\r\n-\r\n--",
);
const MODEL: (&str, &str) = ("name=\"model\"", "public");

#[test]
fn the_model_is_found_before_and_behind_the_file() {
    for parts in [[MODEL, FILE], [FILE, MODEL]] {
        let body = form(&parts);
        let (asked, at) = read(&body).unwrap();
        assert_eq!((asked.model.as_str(), asked.stream), ("public", false));
        assert_eq!(&body[at], b"public");
    }
}

#[test]
fn a_form_says_whether_it_wants_a_stream() {
    let asked = |value| read(&form(&[MODEL, ("name=\"stream\"", value)])).map(|(asked, _)| asked.stream);
    assert!(asked("true").unwrap());
    assert!(!asked("false").unwrap());
    assert!(asked("perhaps").is_err());
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let bad: [&[(&str, &str)]; 29] = [
        &[MODEL, MODEL],
        &[MODEL, FILE, MODEL],
        &[MODEL, ("name=\"stream\"", "true"), ("name=\"stream\"", "false")],
        &[FILE],
        &[("name=\"model\"; name=\"file\"", "m")],
        &[("name*=utf-8''model; name=\"file\"", "m"), MODEL],
        &[("name=\"mo\\del\"", "m"), MODEL],
        &[("name='model'", "m"), MODEL],
        // Another name is found by who reads on behind a parameter that is none, behind an escaped quote, or anywhere.
        &[MODEL, ("name=\"file\"; junk;name=\"model\"", "m")],
        &[MODEL, ("a=x\"; name=\"file\"; b=\"; name=model; c=\"", "m")],
        &[MODEL, ("name=\"file\"; a=\"x\\\\\"; b=\"; name=model; c=\"", "m")],
        &[MODEL, ("filename=\"a; name=model; \"; name=\"file\"", "m")],
        &[MODEL, ("filename=\"a; Name = model; \"; name=\"file\"", "m")],
        &[MODEL, ("name=\"file\"; filename=\"a\\\"b\"", "m")],
        &[MODEL, ("filename=\"a\\\"; name=\"file\"", "m")],
        // A file is no field.
        &[("name=\"model\"; filename=\"a\"", "m")],
        &[MODEL, ("name=\"stream\"; filename*=utf-8''a", "true")],
        &[("name=\" model\"", "m"), MODEL],
        &[("name=\"%6dodel\"", "m"), MODEL],
        &[("name=\"model[]\"", "m"), MODEL],
        &[("filename=\"a\"", "m"), MODEL],
        &[("name=\"file\"\r\nContent-Disposition: form-data; name=\"model\"", "m"), MODEL],
        &[("name=\"file\"\r\n folded: x", "m"), MODEL],
        &[("name=\"file\"\r\nContent-Type: Multipart/mixed; boundary=YY", "--YY--"), MODEL],
        &[("name=\"model\"", "a\u{0}b\u{fffd}"), MODEL],
        // Readers that take any line end, or none at all, see another part there.
        &[MODEL, ("name=\"file\"", "a\n--XX\nContent-Disposition: form-data; name=\"model\"\n\nother")],
        &[MODEL, ("name=\"file\"", "a--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nother")],
        &[MODEL, ("name=\"file\"", "--XX")],
        &[MODEL, ("name=\"file\"", "a\r\n--XXX")],
    ];
    for parts in bad {
        assert!(read(&form(parts)).is_err(), "{parts:?}");
    }
    let model_is_long = "m".repeat(LONGEST_VALUE + 1);
    assert!(read(&form(&[("name=\"model\"", &model_is_long)])).is_err());
    assert!(read(&form(&[("name=\"model\"", &"m".repeat(LONGEST_VALUE))])).is_ok());
    let head_is_long = format!("name=\"file\"\r\nX: {}", "x".repeat(LONGEST_HEAD));
    assert!(read(&form(&[MODEL, (&head_is_long, "")])).is_err());
}

#[test]
fn a_boundary_is_given_once_and_stands_in_no_head() {
    for more in ["; boundary=YY", "; boundary*=utf-8''YY", "; boundary*0=Y"] {
        let content_type = HeaderValue::try_from(format!("multipart/form-data; boundary=XX{more}")).unwrap();
        assert!(Form::new(&content_type).is_err(), "{more}");
    }
    // One with a colon makes a line of a head of its delimiter.
    let mut form = Form::new(&HeaderValue::from_static("multipart/form-data; boundary=\"a:b\"")).unwrap();
    let head = b"--a:b\r\nContent-Disposition: form-data; name=\"file\"\r\n--a:b: x\r\n\r\n";
    assert!(form.read(head).is_err());
}

#[test]
fn behind_its_end_nothing_is_said() {
    let good = form(&[MODEL, FILE]);
    assert!(read(&[&good[..], b"\r\n \r\n"].concat()).is_ok());
    for behind in ["x", "--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nother\r\n--XX--"] {
        assert!(read(&[&good[..], behind.as_bytes()].concat()).is_err());
    }
    assert!(read(&[b"preamble\r\n", &good[..]].concat()).is_err());
}

#[test]
fn a_form_that_is_none_is_refused() {
    let good = form(&[MODEL]);
    for end in 0..good.len() - 4 {
        assert!(read(&good[..end]).is_err(), "cut at {end}");
    }
    let many: Vec<_> = (0..=MOST_PARTS).map(|_| ("name=\"x\"", "y")).chain([MODEL]).collect();
    assert!(read(&form(&many)).is_err());
    for kind in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=X X",
        "multipart/form-data; boundary=XX; boundary=XX",
        "multipart/form-data; boundary=\"XX",
    ] {
        assert!(Form::new(&HeaderValue::from_static(kind)).is_err(), "{kind}");
    }
    let quoted = HeaderValue::from_static("multipart/form-data; charset=utf-8; BOUNDARY=\"XX\"");
    assert!(Form::new(&quoted).is_ok());
}

proptest! {
    #[test]
    fn whatever_bytes_come_it_ends(bytes: Vec<u8>, parts: Vec<(String, String)>, lengths in prop::collection::vec(1_usize..64, 1..8)) {
        let _ = read_in(&bytes, &lengths);
        let parts: Vec<(&str, &str)> = parts.iter().map(|(head, value)| (head.as_str(), value.as_str())).collect();
        let _ = read_in(&form(&parts), &lengths);
    }

    #[test]
    fn a_boundary_is_found_wherever_the_pieces_are_cut(
        before in "[\r\n\\-X]{0,12}", behind in "[\r\n\\-Xa]{0,12}", lengths in prop::collection::vec(1_usize..9, 1..8),
    ) {
        let body = form(&[("name=\"file\"", &before), MODEL, ("name=\"other\"", &behind)]);
        let (at_once, in_pieces) = (read_in(&body, &[usize::MAX]), read_in(&body, &lengths));
        prop_assert_eq!(at_once.map(|(_, at)| at).ok(), in_pieces.map(|(_, at)| at).ok());
    }
}
