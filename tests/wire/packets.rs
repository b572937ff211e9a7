//! What a capture's bytes are: the file's records, and of each frame its addresses and its TCP segment.
//!
//! A reader for the test's own use: it reads what tcpdump writes here (libpcap's file format, Ethernet, IPv4 and IPv6), and fails on anything else rather than overlook it.

use std::{
    fs::File,
    io::{BufReader, ErrorKind, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

const MAGIC: u32 = 0xa1b2_c3d4;
const ETHERNET: u32 = 1;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TCP: u8 = 6;

/// All frames of a capture, in their order.
pub struct Frames(BufReader<File>);

impl Frames {
    pub fn of(file: &Path) -> Self {
        let mut reader = BufReader::with_capacity(1 << 20, File::open(file).expect("a capture"));
        let mut header = [0; 24];
        reader.read_exact(&mut header).expect("a capture's header");
        assert_eq!(word(&header, 0), MAGIC, "a capture of this machine");
        assert_eq!(word(&header, 20), ETHERNET, "of an Ethernet interface");
        Self(reader)
    }
}

impl Iterator for Frames {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut header = [0; 16];
        match self.0.read_exact(&mut header) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return None,
            other => other.expect("a record"),
        }
        let (kept, whole) = (word(&header, 8), word(&header, 12));
        assert_eq!(kept, whole, "a frame was cut short");
        let mut frame = vec![0; kept as usize];
        self.0.read_exact(&mut frame).expect("a whole record");
        Some(frame)
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// An IP packet. Anything else that crosses a link (ARP) has no ends.
#[derive(Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub segment: Option<Segment<'a>>,
}

/// A TCP segment.
#[derive(Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    pub ports: (u16, u16),
    pub sequence: u32,
    /// It opens a connection: its number is that of no byte (RFC 9293, section 3.4).
    pub opens: bool,
    pub payload: &'a [u8],
}

/// `None` when it is no IP packet.
pub fn packet(frame: &[u8]) -> Option<Packet<'_>> {
    let (header, rest) = frame.split_at_checked(14)?;
    match u16::from_be_bytes([header[12], header[13]]) {
        IPV4 => ipv4(rest),
        IPV6 => ipv6(rest),
        _ => None,
    }
}

fn ipv4(bytes: &[u8]) -> Option<Packet<'_>> {
    let length = usize::from(bytes.first()? & 0x0f) * 4;
    let (header, rest) = bytes.split_at_checked(length)?;
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff;
    assert_eq!(fragment, 0, "a fragment: its bytes belong to no segment that can be read");
    let address =
        |at: usize| IpAddr::V4(Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]));
    // Frames are padded to 60 bytes; and a segment that the interface is to cut up says 0 when it is larger than the field.
    let said = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let rest = if said == 0 { rest } else { rest.get(..said.checked_sub(length)?)? };
    let segment = if header[9] == TCP { segment(rest) } else { None };
    Some(Packet { source: address(12), destination: address(16), segment })
}

fn ipv6(bytes: &[u8]) -> Option<Packet<'_>> {
    let (header, rest) = bytes.split_at_checked(40)?;
    let address = |at: usize| {
        let octets: [u8; 16] = header[at..at + 16].try_into().expect("sixteen bytes");
        IpAddr::V6(Ipv6Addr::from(octets))
    };
    let said = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let rest = if said == 0 { rest } else { rest.get(..said)? };
    let segment = if header[6] == TCP { segment(rest) } else { None };
    Some(Packet { source: address(8), destination: address(24), segment })
}

fn segment(bytes: &[u8]) -> Option<Segment<'_>> {
    let header = bytes.get(..20)?;
    let port = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let payload = bytes.get(usize::from(header[12] >> 4) * 4..)?;
    let sequence = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    Some(Segment { ports: (port(0), port(2)), sequence, opens: header[13] & 0x02 != 0, payload })
}

/// A frame as it crosses a link, for tests of what reads it.
#[cfg(test)]
pub fn frame(source: [u8; 4], destination: [u8; 4], sequence: u32, opens: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend(IPV4.to_be_bytes());
    let length = u16::try_from(40 + payload.len()).expect("short");
    frame.extend([0x45, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, TCP, 0, 0]);
    frame.extend(source);
    frame.extend(destination);
    frame.extend([0x9c, 0x40, 0x1f, 0x90]);
    frame.extend(sequence.to_be_bytes());
    frame.extend([0, 0, 0, 0, 0x50, if opens { 0x02 } else { 0x18 }, 0xff, 0xff, 0, 0, 0, 0]);
    frame.extend(payload);
    // Ethernet's padding is no payload.
    frame.resize(frame.len().max(60), b'#');
    frame
}

#[test]
fn a_frame_is_read_as_what_it_is() {
    let bytes = frame([10, 77, 1, 2], [10, 77, 2, 2], 7, false, b"hi");
    let read = packet(&bytes).expect("IP");
    assert_eq!(
        (read.source.to_string(), read.destination.to_string()),
        ("10.77.1.2".into(), "10.77.2.2".into())
    );
    let segment = read.segment.expect("TCP");
    assert_eq!((segment.ports, segment.sequence, segment.payload), ((40_000, 8080), 7, &b"hi"[..]));
    assert_eq!(packet(&[0xff; 60]), None);
}
