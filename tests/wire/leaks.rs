//! What the search is worth: regions that do what they never do are found out.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use bailiwick_tests::{
    admin::Admin,
    calls::Application,
    canaries::{Canary, record, recorded},
    eventually,
    installation::Installation,
    network::Network,
    process::{Owned, binary, kill_hard, runs},
};

use crate::{capture, evidence::Evidence, namespaces::Namespaces, search};

const HERE: &str = "us-west-1";
const THERE: &str = "eu-central-1";

/// Does something while everything is recorded, and judges it.
fn recorded_while(namespaces: &Namespaces, work: impl FnOnce() + Send) -> (Evidence, Vec<Canary>) {
    let mut captures = capture::begin(namespaces);
    namespaces.inside(&namespaces.outside(), work);
    capture::end(namespaces, &mut captures);
    let canaries = recorded(&namespaces.network.planted());
    (search(&namespaces.network.description, &captures, &canaries), canaries)
}

fn address(network: &Network, region: &str) -> std::net::IpAddr {
    network.description.regions[region].address
}

#[test]
fn regions_can_reach_each_other_and_a_connection_between_them_is_found() {
    let namespaces = Namespaces::make();
    let (evidence, canaries) = recorded_while(&namespaces, || {
        let installation = Installation::start_in(Some(&namespaces.network), &[]);
        let admin: SocketAddr = installation.region(THERE).admin_addr.parse().expect("an address");
        namespaces.inside(&namespaces.of(HERE), || {
            // The network lets it through. What stops it is that there is no certificate.
            let connected = TcpStream::connect_timeout(&admin, Duration::from_secs(10));
            connected.expect("one region's network leads to another's");
        });
    });
    // On both interfaces, in both directions; and nothing else of the whole installation.
    let holes = evidence.holes();
    assert_eq!(holes.len(), 4, "{holes:#?}");
    for (interface, from, to) in
        [(HERE, HERE, THERE), (HERE, THERE, HERE), (THERE, HERE, THERE), (THERE, THERE, HERE)]
    {
        let said = format!("packets from {from} to {to} crossed the interface of {interface}");
        assert!(holes.iter().any(|hole| hole.contains(&said)), "{said}: {holes:#?}");
    }
    assert_eq!(evidence.missed(&canaries), Vec::new());
}

#[test]
fn a_worker_that_calls_a_provider_in_another_region_is_found() {
    let namespaces = Namespaces::make();
    let network = &namespaces.network;
    let planted = network.planted();
    let prompt = Canary::hatch(HERE, "leaked prompt", true);
    let (evidence, _) = recorded_while(&namespaces, || {
        let installation = Installation::start_in(Some(network), &[]);
        let provider = SocketAddr::new(address(network, THERE), installation.spare_port);
        let program = binary("bailiwick-simulated-provider").display().to_string();
        let command = [program, "--listen".to_owned(), provider.to_string()];
        let log = installation.folder().join("leak.log");
        let _provider = namespaces.inside(&namespaces.of(THERE), || Owned::start(&command, &log));
        record(std::slice::from_ref(&prompt), &planted);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let _control_plane = admitting_the_other_region(&installation, network).await;
            leak(&installation, &format!("http://{provider}/v1"), &prompt.word).await;
        });
    });
    let strayed: Vec<_> =
        evidence.strayed.iter().filter(|(_, _, kind, _)| kind.contains(&prompt.word)).collect();
    assert_eq!(strayed.len(), 1, "{:#?}", evidence.holes());
    assert_eq!((strayed[0].0.as_str(), strayed[0].1.as_str()), (THERE, HERE));
    assert_eq!(evidence.strayed.len(), 1, "and nothing else: {:#?}", evidence.holes());
    assert!(
        evidence
            .crossings
            .keys()
            .all(|(_, from, to)| [from, to].iter().all(|end| [HERE, THERE].contains(&end.as_str())))
    );
    assert_eq!(evidence.crossings.len(), 4, "{:#?}", evidence.holes());
}

/// The guard is removed: an operator who says that the other region's addresses are this region's own.
async fn admitting_the_other_region(installation: &Installation, network: &Network) -> Owned {
    let process = &installation.region(HERE).processes.control_plane;
    kill_hard(process.pid);
    eventually("the control plane has ended", || async { (!runs(process.pid)).then_some(()) }).await;
    let rule = |address: std::net::IpAddr| {
        format!("{{pattern=\"{address}\",jurisdiction=\"us\",private_ranges=[\"10.77.0.0/16\"]}}")
    };
    let hosts = format!("[{},{}]", rule(network.description.outside), rule(address(network, THERE)));
    let environment = [("BAILIWICK_CONTROL_PLANE_EGRESS__HOSTS", hosts.as_str())];
    let owned = Owned::start_with(&process.command, &process.log, &environment);
    eventually("the control plane is back", || async {
        reqwest::get(process.readyz()).await.ok()?.error_for_status().ok()
    })
    .await;
    owned
}

async fn leak(installation: &Installation, endpoint: &str, word: &str) {
    let region = installation.region(HERE);
    let admin = Admin::of(HERE, region);
    let credential = admin.new_credential(&region.organization, "nobody's").await;
    let revision =
        admin.new_model(&region.organization, "leak", endpoint, "simulated-echo", &credential).await;
    admin.applied(revision).await;
    let application = Application::of(region);
    eventually("the word comes back from the other region", || async {
        let answer = application.chat("leak", word, false).await.ok()?;
        answer.text().await.ok()?.contains(word).then_some(())
    })
    .await;
}

#[test]
fn a_word_that_straddles_two_packets_or_is_written_otherwise_is_found() {
    let namespaces = Namespaces::make();
    let canaries = [Canary::hatch(HERE, "straddling", true), Canary::hatch(HERE, "in base64", true)];
    record(&canaries, &namespaces.network.planted());
    let [straddling, encoded] = &canaries;
    let encoded = {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        STANDARD.encode(format!("{{\"prompt\": \"{}\"}}", encoded.word))
    };
    let there = SocketAddr::new(address(&namespaces.network, THERE), 7000);
    let (evidence, _) = recorded_while(&namespaces, || {
        let listener =
            namespaces.inside(&namespaces.of(THERE), || TcpListener::bind(there).expect("listens"));
        let mut caller = TcpStream::connect(there).expect("connected");
        caller.set_nodelay(true).expect("a socket");
        let (mut callee, _) = listener.accept().expect("a caller");
        let (first, second) = straddling.word.split_at(9);
        for piece in [first, second, &encoded] {
            caller.write_all(piece.as_bytes()).expect("sent");
            // One packet each: the next is sent when this one was read.
            callee.read_exact(&mut vec![0; piece.len()]).expect("received");
        }
    });
    let found: Vec<_> =
        evidence.strayed.iter().map(|(_, _, kind, form)| (kind.as_str(), form.as_str())).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found.iter().any(|(kind, form)| kind.starts_with("straddling") && *form == "as it is"),
        "{found:?}"
    );
    assert!(
        found.iter().any(|(kind, form)| kind.starts_with("in base64") && *form == "in base64"),
        "{found:?}"
    );
}
