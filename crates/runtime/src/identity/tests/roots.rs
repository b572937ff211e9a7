//! A region that changes from one root to another.

use bailiwick_domain::spiffe::ProcessRole;
use tokio::net::TcpListener;

use super::super::*;
use super::authority::{Authority, PATIENCE};

const WORKER: ProcessRole = ProcessRole::Worker;
const CONTROL_PLANE: ProcessRole = ProcessRole::ControlPlane;

fn both(one: &Authority, other: &Authority) -> String {
    format!("{}{}", one.root_pem, other.root_pem)
}

/// Of the first authority, trusting both.
fn between(issuer: &Authority, other: &Authority, role: ProcessRole) -> Identity {
    let material = Material { root_pem: both(issuer, other), ..issuer.material(role) };
    Identity::in_memory(issuer.trust_domain.clone(), &material).unwrap()
}

/// Whether the two let each other in; as what the server presented itself.
async fn meet(server: &Identity, client: Identity) -> std::io::Result<[u8; 32]> {
    let acceptor = Acceptor::new(server.clone(), &[WORKER]).unwrap();
    let connector = Connector::new(client, CONTROL_PLANE).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = async {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await.map(drop)
    };
    let dialling = async { connector.connect(address).await.map(|stream| stream.peer().fingerprint) };
    let met = async { tokio::join!(accepting, dialling) };
    let (accepted, dialled) = tokio::time::timeout(PATIENCE, met).await.expect("in time");
    accepted.and(dialled)
}

#[tokio::test]
async fn processes_of_both_roots_know_each_other_while_both_are_trusted() {
    let (old, new) = (Authority::of("eu-central-1"), Authority::of("eu-central-1"));
    for (server, client) in [(&old, &new), (&new, &old), (&new, &new), (&old, &old)] {
        let (other_s, other_c) = (other(server, &old, &new), other(client, &old, &new));
        let (server, client) = (between(server, other_s, CONTROL_PLANE), between(client, other_c, WORKER));
        meet(&server, client).await.expect("known");
    }
}

fn other<'a>(one: &Authority, old: &'a Authority, new: &'a Authority) -> &'a Authority {
    if one.root_pem == old.root_pem { new } else { old }
}

#[tokio::test]
async fn who_missed_the_change_finds_a_server_that_it_can_verify() {
    let (old, new) = (Authority::of("eu-central-1"), Authority::of("eu-central-1"));
    let server = between(&new, &old, CONTROL_PLANE);
    meet(&server, old.identity(WORKER)).await.expect_err("it trusts the old root alone");

    let standby = Material { root_pem: both(&new, &old), ..old.material(CONTROL_PLANE) };
    server.stand_by(Some(&standby)).unwrap();
    let presented = meet(&server, old.identity(WORKER)).await.expect("admitted");
    assert_ne!(presented, server.fingerprint(), "by its certificate of the old root");
    let presented = meet(&server, between(&new, &old, WORKER)).await.expect("admitted");
    assert_eq!(presented, server.fingerprint(), "and everybody else by the new one");

    // The old root is retired.
    server.trust(&new.root_pem).expect("its own certificate is of the new one");
    server.stand_by(None).unwrap();
    meet(&server, old.identity(WORKER)).await.expect_err("too late");
    meet(&server, between(&old, &new, WORKER)).await.expect_err("its certificate is of the old root");
    meet(&server, new.identity(WORKER)).await.expect("admitted");
}

#[test]
fn r3_a_root_of_another_trust_domain_is_never_trusted() {
    let (ours, theirs) = (Authority::of("eu-central-1"), Authority::of("us-east-1"));
    let identity = ours.identity(WORKER);
    let before = identity.trusted_roots();
    for foreign in [both(&ours, &theirs), theirs.root_pem.clone()] {
        let refused = identity.trust(&foreign).expect_err("foreign");
        assert!(matches!(refused, IdentityError::ForeignRoot { .. }), "{refused}");
    }
    // A leaf, though it is of this very trust domain, is no root.
    let leaf = ours.material(WORKER).certificate_pem;
    let refused = identity.trust(&format!("{}{leaf}", ours.root_pem)).expect_err("no authority");
    assert!(matches!(refused, IdentityError::ForeignRoot { .. }), "{refused}");
    assert_eq!(identity.trusted_roots(), before);
}

#[test]
fn what_is_trusted_outlives_the_process() {
    let (old, new) = (Authority::of("eu-central-1"), Authority::of("eu-central-1"));
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("identity");
    let domain = old.trust_domain.clone();
    let identity = Identity::establish(&directory, domain.clone(), &old.material(WORKER)).unwrap();
    assert!(identity.trust(&both(&old, &new)).unwrap());
    assert!(!identity.trust(&both(&old, &new)).unwrap(), "nothing new");
    assert_eq!(Identity::load_dir(&directory, domain).unwrap().trusted_roots(), identity.trusted_roots());
    let refused = identity.trust(&new.root_pem).expect_err("its own certificate is of the old root still");
    assert!(matches!(refused, IdentityError::Chain(_)), "{refused}");
}

#[tokio::test]
async fn a_certificate_is_superseded_when_the_region_issues_under_another_root() {
    let (old, new) = (Authority::of("eu-central-1"), Authority::of("eu-central-1"));
    let identity = between(&old, &new, WORKER);
    identity.set_issuing(identity.root_fingerprint());
    assert!(!identity.is_superseded());
    identity.set_issuing(new.identity(WORKER).root_fingerprint());
    tokio::time::timeout(PATIENCE, identity.superseded()).await.expect("superseded");
    let renewed = Material { root_pem: both(&old, &new), ..new.material(WORKER) };
    identity.replace(&renewed).unwrap();
    assert!(!identity.is_superseded());
}
