use http::HeaderValue;
use proptest::prelude::*;

use super::*;
use crate::http1::{Fields, ResponseReader};

/// The section of this head; `None`: it is none.
fn section(lines: &str) -> Option<HeaderSection> {
    let head = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
    let mut begun = ResponseReader::new(false).take_head(head.as_bytes()).ok()??;
    Some(std::mem::take(begun.response.headers_mut()))
}

fn written(section: &HeaderSection) -> String {
    let line = |(name, value): (&[u8], &[u8])| format!("{}: {}\n", name.escape_ascii(), value.escape_ascii());
    section.iter().map(line).collect()
}

#[test]
fn fields_are_found_however_they_are_spelled_and_in_their_order() {
    let found = section("X-One:  1 \r\ncontent-type: a/b\r\nx-oNe: \u{e9}\r\nx-on: 3\r\nx-one:\r\n").unwrap();
    let one = HeaderName::from_static("x-one");
    let all: Vec<&[u8]> = found.get_all(&one).collect();
    assert_eq!(all, [&b"1"[..], "\u{e9}".as_bytes(), b""]);
    assert_eq!(found.get_all(&one).next_back(), Some(&b""[..]));
    assert_eq!((found.get(&one), found.text(&one), found.len()), (Some(&b"1"[..]), Some("1"), 5));
    assert_eq!(text("\u{e9}".as_bytes()), None);
    let none = HeaderName::from_static("x-none");
    assert!(!found.contains(&none) && found.get(&none).is_none() && !found.is_empty());
    assert_eq!(written(&found), "X-One: 1\ncontent-type: a/b\nx-oNe: \\xc3\\xa9\nx-on: 3\nx-one: \n");
}

#[test]
fn a_length_is_known_where_it_is_said_once() {
    let length = |lines: &str| section(lines).unwrap().content_length();
    assert_eq!(length("Content-Length: 7\r\n"), Some(7));
    assert_eq!(length("Content-Length: 7\r\ncontent-length: 7\r\n"), None);
    assert_eq!(length("content-length: 7\r\ntransfer-encoding: chunked\r\n"), None);
    assert_eq!(length(""), None);
}

#[test]
fn what_is_meant_for_one_hop_ends_here_and_all_else_goes_on_as_it_came() {
    let mut found = section(
        "Connection: close, X-Private, content-type\r\nKeep-Alive: 5\r\nX-Private: 1\r\nX-Other: A b\r\nConnection: x-also\r\n\
         content-type: text/plain\r\nX-Other: c\r\nX-Also: 1\r\ncontent-length: 0\r\nTE: trailers\r\nProxy-Authenticate: Basic\r\n",
    )
    .unwrap();
    assert!(found.names(&header::CONNECTION, "CLOSE") && !found.names(&header::CONNECTION, "private"));
    found.retain_end_to_end(&[header::CONTENT_TYPE]);
    assert_eq!(written(&found), "X-Other: A b\ncontent-type: text/plain\nX-Other: c\ncontent-length: 0\n");
}

#[test]
fn of_whoever_names_too_many_fields_only_what_nobody_may_remove_goes_on() {
    let left = |options: usize| {
        let named: Vec<String> = (0..options).map(|at| format!("x-{at}")).collect();
        let lines =
            format!("connection: {}\r\nx-0: 1\r\nx-other: 1\r\ncontent-type: a/b\r\n", named.join(", , "));
        let mut found = section(&lines).unwrap();
        found.retain_end_to_end(&[header::CONTENT_TYPE]);
        written(&found)
    };
    assert_eq!(left(MOST_NAMED), "x-other: 1\ncontent-type: a/b\n");
    assert_eq!(left(MOST_NAMED + 1), "content-type: a/b\n");
}

#[test]
fn lines_go_on_as_they_came_and_end_with_both_bytes() {
    let goes_on = |head: &str, but: &str| {
        let begun = ResponseReader::new(false).take_head(head.as_bytes()).unwrap().unwrap();
        let mut lines = Vec::new();
        begun.response.headers().put_lines(&mut lines, |name| name != but.as_bytes());
        lines.escape_ascii().to_string()
    };
    let whole = "HTTP/1.1 200 OK\r\na:  1 \r\nB: 2\r\nc:\r\nd: 4\r\n\r\n";
    for (but, expected) in [
        ("", r"a:  1 \r\nB: 2\r\nc:\r\nd: 4\r\n"),
        ("a", r"B: 2\r\nc:\r\nd: 4\r\n"),
        ("B", r"a:  1 \r\nc:\r\nd: 4\r\n"),
        ("d", r"a:  1 \r\nB: 2\r\nc:\r\n"),
    ] {
        assert_eq!(goes_on(whole, but), expected, "{but}");
    }
    for halves in ["HTTP/1.1 200 OK\na:  1 \nB: 2\r\n\r\n", "HTTP/1.1 200 OK\r\na: 1\r\nB: 2\n\n"] {
        assert_eq!(goes_on(halves, ""), r"a: 1\r\nB: 2\r\n");
    }
    assert_eq!(goes_on("HTTP/1.1 200 OK\r\n\r\n", ""), "");
}

#[test]
fn a_map_becomes_the_same_fields() {
    let map = HeaderMap::from_iter([
        (header::HOST, HeaderValue::from_static("")),
        (header::ETAG, HeaderValue::from_static("\"a\"")),
    ]);
    assert_eq!(HeaderSection::from(&map).to_map(), map);
    assert!(HeaderSection::from(&HeaderMap::new()).is_empty());
}

proptest! {
    /// What goes on of an answer is what a map has of it: but for what is meant for one hop, what is said of its framing, and what is said in its place.
    #[test]
    fn what_goes_on_is_what_a_map_has(
        fields in proptest::collection::vec(
            ("x-[a-d]{1,2}|X-[a-d]|content-type|Content-Length|Transfer-Encoding|connection|date|keep-alive|etag", "[a-c ,]{0,4}|7|chunked|close|x-a|\u{e9}|\u{7}"),
            0..6,
        ),
    ) {
        let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        // A map takes a line for a field by itself, and who reads a head knows more: where its body ends.
        let is_field = |value: &str| HeaderValue::from_str(value).is_ok() || value == "\u{e9}";
        let Some(mut found) = section(&lines) else { return Ok(()) };
        prop_assert!(fields.iter().all(|(_, value)| is_field(value)));
        let map = found.to_map();
        let named = |name: &str| {
            let mut options = map.get_all("connection").iter().flat_map(|value| items(value.as_bytes()));
            options.any(|option| option == name.as_bytes()) && name != "content-type"
        };
        let replaced = HeaderName::from_static("x-b");
        let goes = |name: &str| {
            !is_of_one_hop(name.as_bytes()) && name != "content-length" && name != replaced.as_str() && !named(name)
        };
        let mut expected: Vec<(String, Vec<u8>)> = fields
            .iter()
            .map(|(name, value)| (name.to_lowercase(), value.trim_matches(' ').as_bytes().to_vec()))
            .filter(|(name, _)| goes(name))
            .chain([(replaced.to_string(), b"ours".to_vec())])
            .collect();
        found.retain_end_to_end(&[header::CONTENT_TYPE]);
        let mut on = Fields::default();
        on.put(&replaced, b"ours");
        on.pass_on(found);
        let mut went: Vec<(String, Vec<u8>)> = on
            .iter()
            .map(|(name, value)| (String::from_utf8_lossy(name).to_lowercase(), value.to_vec()))
            .collect();
        expected.sort();
        went.sort();
        prop_assert_eq!(&went, &expected);
        let mut head = Vec::new();
        on.put_into(&mut head);
        let mut written: Vec<(String, Vec<u8>)> = String::from_utf8(head)
            .unwrap()
            .split_terminator("\r\n")
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_lowercase(), value.trim_matches(' ').as_bytes().to_vec()))
            .collect();
        written.sort();
        prop_assert_eq!(written, expected);
    }
}
