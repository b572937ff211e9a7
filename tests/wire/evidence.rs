//! What captures show: whose words crossed which interface, and who spoke with whom.
//!
//! - **Words** ([`Evidence::strayed`]): a canary of one region on another's interface, in a packet or across packets of a stream, as it is, in hexadecimal, in base64, or as UTF-16. Most of what
//!   processes say to each other is inside TLS, where no search can see; so this proves what would be seen by whoever listens: signups, keys, prompts and answers
//!   between tenants and routers, and between workers and providers, here all in plain HTTP; and it would see everything else as soon as somebody turned TLS off.
//! - **Flows** ([`Evidence::crossings`]): a packet from one region's address to another's. TLS hides nothing here: no packet at all is proof that no byte went from a region to
//!   another, whatever it was. Attacks of the suite come from outside, so they are none of these.
//! - **Strangers** ([`Evidence::strangers`]): a packet between a region and anybody else than those outside whom it serves or calls: a collector, a directory, a name server.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use aho_corasick::AhoCorasick;
use bailiwick_tests::{canaries::Canary, network::Description};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

use crate::{
    packets::{Frames, packet},
    streams::Streams,
};

/// The region that the end-to-end tests in `guards` rob of one guard after the other.
const ROBBED: &str = "us-east-1";
/// What the names of `verify isolation`'s attack on endpoints lead to: private, link-local, and a cloud's metadata. In the other regions, and of everybody else, a packet there is a
/// hole.
const TEMPTATIONS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(169, 254, 1, 1), Ipv4Addr::new(169, 254, 169, 254)];

/// What was found on all interfaces.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Words of one region on another's interface: (interface, word's region, what it was, how it was written).
    pub strayed: BTreeSet<(String, String, String, String)>,
    /// Packets between two regions: (interface, from, to).
    pub crossings: BTreeMap<(String, String, String), u64>,
    /// Packets between a region and nobody that it knows.
    pub strangers: BTreeMap<(String, IpAddr, IpAddr), u64>,
    /// Words that were found on their own region's interface.
    pub at_home: BTreeSet<Canary>,
    pub by_interface: BTreeMap<String, Seen>,
}

/// How much was searched.
#[derive(Debug, Default)]
pub struct Seen {
    pub packets: u64,
    pub bytes: u64,
    /// Bytes of streams that do not hang together: only searched packet by packet.
    pub left_over: usize,
}

/// Searches for canaries.
pub struct Search<'a> {
    network: &'a Description,
    canaries: &'a [Canary],
    /// Of each pattern: which canary, and how it is written.
    meanings: Vec<(usize, &'static str)>,
    patterns: AhoCorasick,
    longest: usize,
}

impl<'a> Search<'a> {
    pub fn new(network: &'a Description, canaries: &'a [Canary]) -> Self {
        let (mut patterns, mut meanings) = (Vec::new(), Vec::new());
        for (index, canary) in canaries.iter().enumerate() {
            for (form, pattern) in forms(&canary.word) {
                patterns.push(pattern);
                meanings.push((index, form));
            }
        }
        let longest = patterns.iter().map(Vec::len).max().unwrap_or(1);
        let patterns = AhoCorasick::new(patterns).expect("patterns");
        Self { network, canaries, meanings, patterns, longest }
    }

    /// Searches one interface's capture.
    pub fn read(&self, region: &str, file: &Path, evidence: &mut Evidence) {
        let mut streams = Streams::new(self.longest - 1);
        let mut seen = Seen::default();
        for frame in Frames::of(file) {
            seen.packets += 1;
            seen.bytes += frame.len() as u64;
            self.look_at(region, &frame, evidence);
            let Some(packet) = packet(&frame) else { continue };
            self.judge(region, packet.source, packet.destination, evidence);
            self.look_at(region, &streams.take(&packet), evidence);
        }
        seen.left_over = streams.left_over();
        evidence.by_interface.insert(region.to_owned(), seen);
    }

    fn look_at(&self, region: &str, bytes: &[u8], evidence: &mut Evidence) {
        for found in self.patterns.find_overlapping_iter(bytes) {
            let (index, form) = self.meanings[found.pattern().as_usize()];
            let canary = &self.canaries[index];
            if canary.region == region {
                evidence.at_home.insert(canary.clone());
            } else {
                let (home, kind) = (canary.region.clone(), format!("{} {}", canary.kind, canary.word));
                evidence.strayed.insert((region.to_owned(), home, kind, form.to_owned()));
            }
        }
    }

    fn judge(&self, region: &str, source: IpAddr, destination: IpAddr, evidence: &mut Evidence) {
        if let (Some(from), Some(to)) = (self.region_of(source), self.region_of(destination)) {
            let pair = (region.to_owned(), from.to_owned(), to.to_owned());
            *evidence.crossings.entry(pair).or_default() += 1;
        } else if [source, destination].into_iter().any(|address| !self.is_known(region, address))
            && !self.leads_astray(region, source, destination)
        {
            *evidence.strangers.entry((region.to_owned(), source, destination)).or_default() += 1;
        }
    }

    fn region_of(&self, address: IpAddr) -> Option<&str> {
        let mut regions = self.network.regions.iter();
        regions.find(|(_, place)| place.address == address).map(|(name, _)| name.as_str())
    }

    /// Where a worker dials when `guards` has taken the guard against it away, and the link's own router, which answers that nobody is there.
    fn leads_astray(&self, region: &str, source: IpAddr, destination: IpAddr) -> bool {
        [source, destination].into_iter().any(|address| self.is_tempting(region, address))
    }

    fn is_tempting(&self, region: &str, address: IpAddr) -> bool {
        let (Some(place), IpAddr::V4(address)) = (self.network.regions.get(region), address) else {
            return false;
        };
        let router = match place.address {
            IpAddr::V4(own) => Ipv4Addr::from([own.octets()[0], own.octets()[1], own.octets()[2], 1]),
            IpAddr::V6(_) => return false,
        };
        region == ROBBED && (address == router || TEMPTATIONS.contains(&address))
    }

    /// The region itself, those outside, and what only ever reaches the other end of the link.
    fn is_known(&self, region: &str, address: IpAddr) -> bool {
        let of_the_link = match address {
            IpAddr::V4(_) => false,
            IpAddr::V6(address) => {
                address.is_unicast_link_local() || address.is_multicast() || address.is_unspecified()
            }
        };
        of_the_link || address == self.network.outside || self.region_of(address) == Some(region)
    }
}

impl Evidence {
    /// Why the proof fails, one reason a line; nothing when it holds.
    pub fn holes(&self) -> Vec<String> {
        let strayed = self.strayed.iter().map(|(interface, home, kind, form)| {
            format!("{home}'s {kind} ({form}) crossed the interface of {interface}")
        });
        let crossings = self.crossings.iter().map(|((interface, from, to), packets)| {
            format!("{packets} packets from {from} to {to} crossed the interface of {interface}")
        });
        let left_over =
            self.by_interface.iter().filter(|(_, seen)| seen.left_over > 0).map(|(interface, seen)| {
                format!(
                    "{} bytes on the interface of {interface} belong to streams with a gap",
                    seen.left_over
                )
            });
        let strangers = self.strangers.iter().map(|((interface, from, to), packets)| {
            format!("{packets} packets from {from} to {to} crossed the interface of {interface}")
        });
        strayed.chain(crossings).chain(strangers).chain(left_over).collect()
    }

    /// Words that had to be found at home and were not: then the search is blind.
    pub fn missed(&self, canaries: &[Canary]) -> Vec<Canary> {
        canaries.iter().filter(|canary| canary.plain && !self.at_home.contains(canary)).cloned().collect()
    }

    /// For whoever reads the test's output.
    pub fn print(&self, canaries: &[Canary]) {
        for (region, seen) in &self.by_interface {
            let planted = canaries.iter().filter(|canary| canary.region == *region).count();
            let found = self.at_home.iter().filter(|canary| canary.region == *region).count();
            let strayed = self.strayed.iter().filter(|(interface, ..)| interface == region).count();
            let Seen { packets, bytes, .. } = seen;
            println!(
                "{region:<13} {packets:>8} packets, {bytes:>11} bytes: {found} of its own {planted} words, {strayed} of other regions"
            );
        }
        let regions = || self.by_interface.keys();
        for (from, to) in
            regions().flat_map(|from| regions().map(move |to| (from, to))).filter(|(from, to)| from != to)
        {
            let of_pair = self
                .crossings
                .iter()
                .filter(|((_, source, destination), _)| (source, destination) == (from, to));
            println!("{from:>13} → {to:<13} {} packets", of_pair.map(|(_, packets)| packets).sum::<u64>());
        }
    }
}

/// How a word may be written. Base64 has three ways, by where in a group of three bytes the word begins; only what does not depend on its neighbours is searched for.
fn forms(word: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = word.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![("as it is", bytes.to_vec()), ("in hexadecimal", hex.clone().into_bytes())];
    forms.push(("in hexadecimal", hex.to_uppercase().into_bytes()));
    forms.push(("as UTF-16", word.encode_utf16().flat_map(u16::to_le_bytes).collect()));
    for before in 0..3 {
        let whole = STANDARD_NO_PAD.encode([&vec![0; before], bytes].concat());
        let certain = &whole[(before * 8).div_ceil(6)..(before + bytes.len()) * 8 / 6];
        forms.push(("in base64", certain.as_bytes().to_vec()));
    }
    forms
}

#[test]
fn a_word_is_known_in_base64_wherever_it_begins() {
    for before in ["", "a", "ab", "abc"] {
        for after in ["", "z", "zz"] {
            let text = STANDARD_NO_PAD.encode(format!("{before}finch0123456789abcdef{after}"));
            let found = forms("finch0123456789abcdef").iter().any(|(form, pattern)| {
                *form == "in base64" && text.as_bytes().windows(pattern.len()).any(|part| part == pattern)
            });
            assert!(found, "{before} {after} {text}");
        }
    }
}
