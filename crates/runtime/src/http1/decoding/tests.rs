use super::*;

/// All of a body that comes in these pieces, and what stands behind it.
fn taken(mut decoder: Decoder, pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), Malformed> {
    let (mut body, mut behind) = (Vec::new(), 0);
    for piece in pieces {
        let (data, taken) = decoder.take(piece)?;
        body.extend_from_slice(&data);
        behind += piece.len() - taken;
    }
    Ok((body, behind, decoder.is_over()))
}

#[test]
fn chunks_are_put_together_however_they_come() {
    let whole = b"5\r\nhello\r\n00A; of=no;interest=\"x\"\r\n, 12345678\r\n1 \t;x\r\n!\r\n0\r\nx-trailer: y\r\nz: 1\r\n\r\nHTTP/1.1";
    for size in 1..=whole.len() {
        let pieces: Vec<&[u8]> = whole.chunks(size).collect();
        let (body, behind, is_over) = taken(Decoder::chunked(), &pieces).unwrap();
        assert_eq!(body, b"hello, 12345678!");
        assert_eq!((behind, is_over), (8, true), "in pieces of {size}");
    }
}

#[test]
fn what_is_no_chunk_is_refused() {
    let bad: [&[u8]; 16] = [
        b"\r\n",
        b"g\r\n",
        b"-1\r\n",
        b"+1\r\nx\r\n",
        b"0x1\r\nx\r\n",
        b"1\nx\r\n",
        b"1\r\rx",
        b"1\r\nxy",
        b"1\r\nx\n",
        b"1\r\nx\r\r",
        b"1 1\r\nx\r\n",
        b"1;a\nb\r\n",
        b";a\r\n",
        b"00000000000000001\r\nx\r\n",
        b"0\r\n\n",
        b"0\r\na: b\n\r\n",
    ];
    for bytes in bad {
        assert_eq!(taken(Decoder::chunked(), &[bytes]), Err(Malformed), "{}", bytes.escape_ascii());
        let each: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(taken(Decoder::chunked(), &each), Err(Malformed), "{}", bytes.escape_ascii());
    }
}

#[test]
fn the_largest_chunk_is_only_as_large_as_what_comes() {
    let (body, behind, is_over) = taken(Decoder::chunked(), &[b"ffffffffffffffff\r\nabc"]).unwrap();
    assert_eq!((&*body, behind, is_over), (&b"abc"[..], 0, false));
}

#[test]
fn what_nobody_reads_is_bounded() {
    let room = usize::try_from(MOST_UNREAD).unwrap();
    let many = |one: &[u8], times: usize| one.repeat(times);
    let long_extension = |length| [b"1;".to_vec(), many(b"x", length)].concat();
    let many_extensions = |times| many(b"1;xxxxxxxxx\r\nd\r\n", times);
    let trailers = |times| [b"0\r\n".to_vec(), many(b"a: b\r\n", times)].concat();
    assert!(taken(Decoder::chunked(), &[&long_extension(room - 1)]).is_ok());
    assert!(taken(Decoder::chunked(), &[&many_extensions(room / 10)]).is_ok());
    assert!(taken(Decoder::chunked(), &[&trailers(room / 4)]).is_ok());
    for bytes in [long_extension(room), many_extensions(room / 10 + 1), trailers(room / 4 + 1)] {
        assert_eq!(taken(Decoder::chunked(), &[&bytes]), Err(Malformed));
    }
}

#[test]
fn a_length_is_kept_to() {
    let (body, behind, is_over) = taken(Decoder::of_length(5), &[b"hel", b"lo, "]).unwrap();
    assert_eq!((&*body, behind, is_over), (&b"hello"[..], 2, true));
    let (body, behind, is_over) = taken(Decoder::of_length(u64::MAX), &[b"hel"]).unwrap();
    assert_eq!((&*body, behind, is_over), (&b"hel"[..], 0, false));
    assert_eq!(taken(Decoder::of_length(0), &[b"x"]).unwrap(), (Vec::new(), 1, true));
}

#[test]
fn a_size_is_written_as_it_is_read() {
    for size in [1, 9, 10, 15, 16, 255, 4096, 0xdead_beef, usize::MAX] {
        let mut line = Vec::new();
        put_chunk_size(&mut line, size);
        assert_eq!(line, format!("{size:x}\r\n").as_bytes());
        let (_nothing_yet, taken) = Decoder::chunked().take(&line).unwrap();
        assert_eq!(taken, line.len());
    }
}
