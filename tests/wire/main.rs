//! R3, R5, R6: what crosses the wires between regions while everything runs. Nothing.
//!
//! Each region gets a network namespace of its own, which could reach every other one; tcpdump keeps every byte that crosses its interface; and then the whole end-to-end suite runs in there, with
//! its crashes, its restarts and its attacks. What is searched for, and what finding nothing proves, says [`evidence`]. That the search would find something is proved by doing what
//! no region may do, see [`leaks`].
//!
//! It needs root, iproute2 and tcpdump, and fails where it cannot have them. `./tests/run wire` prepares all of it. The suite runs on loopback with `./tests/run end_to_end`.

mod capture;
mod evidence;
mod leaks;
mod namespaces;
mod packets;
mod speech;
mod streams;

use std::process::Command;

use bailiwick_tests::{
    canaries::recorded,
    installation::REGIONS,
    network::{Description, VARIABLE},
};

use crate::{
    evidence::{Evidence, Search},
    namespaces::Namespaces,
    speech::Speech,
};

/// Runs only the tests of the suite whose names have this in them; for who looks for something.
const ONLY: &str = "BAILIWICK_WIRE_ONLY";
/// Kinds of words of which each region has at least one that must have been found on its own wire.
const FOUND_AT_HOME: [&str; 8] = [
    "organization's name",
    "owner's address",
    "key",
    "prompt",
    "prompt of `up`",
    "prompt and answer",
    "stream",
    "credential at its provider",
];

#[test]
fn r3_nothing_of_a_region_crosses_the_wire_of_another_while_the_whole_suite_runs() {
    let namespaces = Namespaces::make();
    let mut captures = capture::begin(&namespaces);
    let (good, rounds) = std::thread::scope(|scope| {
        let speech = Speech::begin(scope, &namespaces);
        (suite(&namespaces), speech.end())
    });
    capture::end(&namespaces, &mut captures);

    let canaries = recorded(&namespaces.network.planted());
    let evidence = search(&namespaces.network.description, &captures, &canaries);
    println!("{} words were planted, and spoken of in {rounds} rounds", canaries.len());
    evidence.print(&canaries);
    assert_eq!(evidence.holes(), Vec::<String>::new());
    assert_eq!(evidence.missed(&canaries), Vec::new(), "words that their own region's wire must have shown");
    for region in REGIONS {
        for kind in FOUND_AT_HOME {
            let found = evidence.at_home.iter().any(|canary| canary.region == region && canary.kind == kind);
            assert!(found, "no {kind} of {region} was seen on its own wire: the search is blind");
        }
    }
    assert!(good, "the suite failed, see above; and nothing crossed");
}

/// Whether the end-to-end suite holds, run from outside of all regions.
fn suite(namespaces: &Namespaces) -> bool {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let only = std::env::var(ONLY).ok();
    let status = Command::new("ip")
        .args(["netns", "exec", &namespaces.outside(), &cargo])
        .args(["test", "--locked", "--offline", "--workspace", "--test", "end_to_end"])
        .args(["--", "--test-threads=2"])
        .args(only.iter().flat_map(|names| names.split_whitespace()))
        .env(VARIABLE, &namespaces.network.file)
        .status();
    status.expect("the suite starts").success()
}

fn search(
    network: &Description,
    captures: &[capture::Capture],
    canaries: &[bailiwick_tests::canaries::Canary],
) -> Evidence {
    let search = Search::new(network, canaries);
    let mut evidence = Evidence::default();
    for capture in captures {
        search.read(&capture.region, &capture.file, &mut evidence);
    }
    evidence
}
