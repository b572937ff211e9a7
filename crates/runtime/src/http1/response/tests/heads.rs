use http::HeaderMap;

use super::super::*;

fn parsed(head: &str) -> Result<(Head, HeaderMap), Malformed> {
    let head = read(head.as_bytes(), false)?.expect("it is whole");
    let headers = head.headers.to_map();
    Ok((head, headers))
}

#[test]
fn a_head_is_read() {
    let (head, headers) =
        parsed("HTTP/1.1 429 Slow Down\r\nRetry-After: 3\r\nset-cookie: a\r\nSet-Cookie:  b \r\nContent-Length: 12\r\n\r\n").unwrap();
    assert_eq!((head.status.as_u16(), head.version, head.keeps), (429, Version::HTTP_11, true));
    assert_eq!(head.decoder.left(), Some(12));
    assert_eq!(headers["retry-after"], "3");
    let cookies: Vec<_> = headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a", "b"]);
}

#[test]
fn a_body_ends_where_rfc_9112_says() {
    let cases: [(&str, Option<u64>, bool, bool); 12] = [
        // Headers; its length, whether the connection's end is its end, whether the connection serves on.
        ("content-length: 7\r\n", Some(7), false, true),
        ("content-length: 7, 7\r\nContent-Length: 7\r\n", Some(7), false, true),
        ("content-length: 7\r\nconnection: close\r\n", Some(7), false, false),
        ("content-length: 7\r\nconnection: x, Close\r\n", Some(7), false, false),
        ("content-length: 7\r\nconnection: keep-alive\r\n", Some(7), false, true),
        ("transfer-encoding: chunked\r\n", None, false, true),
        ("transfer-encoding: Chunked \r\n", None, false, true),
        ("transfer-encoding: chunked\r\nconnection: close\r\n", None, false, false),
        ("transfer-encoding: chunked\r\ncontent-length: 7\r\n", None, false, false),
        ("content-length: 7\r\ntransfer-encoding: chunked\r\n", None, false, false),
        ("content-length: 0\r\n", Some(0), false, true),
        ("", None, true, false),
    ];
    for (said, left, by_close, keeps) in cases {
        let (head, headers) = parsed(&format!("HTTP/1.1 200 OK\r\n{said}\r\n")).unwrap();
        assert_eq!(
            (head.decoder.left(), head.decoder.ends_by_close(), head.keeps),
            (left, by_close, keeps),
            "{said}"
        );
        let tells_both = headers.contains_key("content-length") && headers.contains_key("transfer-encoding");
        assert!(!tells_both, "{said}");
    }
    for status in [204, 304] {
        let (head, _) = parsed(&format!("HTTP/1.1 {status} X\r\ncontent-length: 7\r\n\r\n")).unwrap();
        assert!(head.decoder.is_over() && head.keeps);
    }
    let (head, _) = parsed("HTTP/1.0 200 OK\r\ncontent-length: 7\r\nconnection: keep-alive\r\n\r\n").unwrap();
    assert_eq!((head.decoder.left(), head.version, head.keeps), (Some(7), Version::HTTP_10, false));
}

#[test]
fn what_is_no_answer_is_refused() {
    let many = "a: b\r\n".repeat(MOST_FIELDS + 1);
    let bad = [
        "\r\n\r\n",
        "\nHTTP/1.1 200 OK\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 99 X\r\n\r\n",
        "HTTP/1.1 1000 X\r\n\r\n",
        "HTTP/1.1 2 X\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: b\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\na : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: \0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 7\r\ncontent-length: 8\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 7, 8\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: +7\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: \r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0x7\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551616\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    ];
    for head in bad {
        assert_eq!(parsed(head).err(), Some(Malformed), "{}", head.escape_debug());
    }
    assert_eq!(parsed(&format!("HTTP/1.1 200 OK\r\n{many}\r\n")).err(), Some(Malformed));
}

#[test]
fn a_head_ends_with_an_empty_line_however_much_was_seen_before() {
    for (head, behind) in
        [("HTTP/1.1 200 OK\r\na: b\r\n\r\n", "rest\n\n"), ("HTTP/1.1 200 OK\na: b\n\n", "\r\n\r\n")]
    {
        let bytes = [head, behind].concat();
        for seen in 0..head.len() {
            assert_eq!(end_of_head(bytes.as_bytes(), seen), Some(head.len()), "{seen}");
            assert_eq!(end_of_head(&bytes.as_bytes()[..seen], 0), None, "{seen}");
        }
    }
}

#[test]
fn nothing_follows_the_head_that_was_asked_for() {
    for said in ["content-length: 7\r\n", "transfer-encoding: chunked\r\n", ""] {
        let mut reader = ResponseReader::new(true);
        let begun = reader.take_head(format!("HTTP/1.1 200 OK\r\n{said}\r\n").as_bytes());
        assert_eq!(begun.unwrap().unwrap().length, Some(0));
        assert!(reader.is_over() && reader.keeps());
    }
}
