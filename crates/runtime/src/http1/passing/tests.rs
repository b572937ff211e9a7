use proptest::prelude::*;

use super::*;
use crate::http1::{Begun, ResponseReader};

/// What goes on of a head, and what stays with its response; `None`: it is none.
fn passed(head: &str) -> Option<(String, HeaderMap)> {
    let mut on = Fields::default();
    // Of whom was here before, nothing stays.
    on.put(&HeaderName::from_static("x-before"), b"1");
    let Begun { response, .. } =
        ResponseReader::new(false).take_head(head.as_bytes(), &mut Passing::to(&mut on)).ok()??;
    Some((String::from_utf8_lossy(on.lines()).into_owned(), response.headers().clone()))
}

#[test]
fn what_is_meant_for_one_hop_ends_here_and_all_else_goes_on_as_it_came() {
    let (on, own) = passed(
        "HTTP/1.1 200 OK\r\nConnection: close, X-Private, content-type\r\nKeep-Alive: 5\r\nX-Private: 1\r\nX-Other: A b\r\n\
         content-type: text/plain\r\nX-Other: c\r\ncontent-length: 0\r\nTE: trailers\r\nProxy-Authenticate: Basic\r\n\r\n",
    )
    .unwrap();
    assert_eq!(on, "X-Other: A b\r\ncontent-type: text/plain\r\nX-Other: c\r\n");
    let own: Vec<_> = own.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(own, [("content-length", "0"), ("connection", "close")]);
}

#[test]
fn a_length_that_chunks_contradict_is_nobodys() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 7\r\ntransfer-encoding: chunked\r\n\r\n";
    let (on, own) = passed(head).unwrap();
    assert!(on.is_empty() && own.is_empty(), "{on} {own:?}");
}

#[test]
fn a_date_is_said_once() {
    let mut on = Fields::default();
    let head = b"HTTP/1.1 200 OK\r\nDate: then\r\n\r\n";
    assert!(ResponseReader::new(false).take_head(head, &mut Passing::to(&mut on)).unwrap().is_some());
    assert!(on.replaces(&header::DATE), "whoever writes the answer adds none");
    assert_eq!(on.lines(), b"date: then\r\n");
}

proptest! {
    /// Whoever looks at the fields and whoever passes them on take the same heads for good, and find the same in them.
    #[test]
    fn what_goes_on_is_what_a_map_has(
        fields in proptest::collection::vec(
            ("x-[a-d]{1,2}|content-type|Content-Length|Transfer-Encoding|connection|date|keep-alive|etag", "[a-c ,]{0,4}|7|chunked|close|x-a|\u{e9}|\u{7}"),
            0..6,
        ),
    ) {
        let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        let mut map = HeaderMap::new();
        let looked = ResponseReader::new(false).take_head(head.as_bytes(), &mut map).ok().flatten();
        let passed = passed(&head);
        prop_assert_eq!(looked.is_some(), passed.is_some());
        if let (Some(looked), Some((on, own))) = (looked, passed) {
            let headers = looked.response.headers();
            let named = |name: &str| {
                let mut options = headers.get_all("connection").iter().flat_map(|value| items(value.as_bytes()));
                options.any(|option| option == name.as_bytes()) && name != "content-type"
            };
            let goes = |name: &HeaderName| {
                !is_of_one_hop(name.as_str()) && *name != header::CONTENT_LENGTH && !named(name.as_str())
            };
            let mut expected: Vec<(String, Vec<u8>)> = headers
                .iter()
                .filter(|(name, _)| goes(name))
                .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
                .collect();
            let mut found: Vec<(String, Vec<u8>)> = on
                .split_terminator("\r\n")
                .map(|line| line.split_once(": ").unwrap())
                .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
                .collect();
            expected.sort();
            found.sort();
            prop_assert_eq!(found, expected);
            let lengths = |headers: &HeaderMap| headers.get_all(header::CONTENT_LENGTH).iter().cloned().collect::<Vec<_>>();
            prop_assert_eq!(lengths(&own), lengths(headers));
            prop_assert_eq!(own.contains_key(header::CONNECTION), crate::http1::names(headers, header::CONNECTION, "close"));
        }
    }
}
