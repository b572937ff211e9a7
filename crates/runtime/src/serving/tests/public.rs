use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::*;
use crate::identity::{CertificateFiles, IdentityError, PublicAcceptor};

/// Writes a certificate that its holder signed for itself, and tells what callers would have to trust.
fn certify(folder: &Path, name: &str) -> (CertificateFiles, CertificateDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
    let files = CertificateFiles {
        certificate: folder.join(format!("{name}.pem")),
        key: folder.join(format!("{name}.key")),
    };
    fs::write(&files.key, key.serialize_pem()).unwrap();
    fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&files.certificate, certificate.pem()).unwrap();
    (files, CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap())
}

async fn ask(serving: &Serving, trusted: &CertificateDer<'static>, name: &str) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(serving.addresses()[0]).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.write_all(b"GET /peer HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn serve_public(acceptor: &PublicAcceptor) -> (Signal, Serving) {
    let (signal, watch) = channel();
    let transport = Transport::Public(acceptor.clone());
    let listen = Listen { address: "127.0.0.1:0".parse().unwrap(), transport, preface_from: None };
    (signal, serve_per_core(vec![listen], 1, HttpLimits::default(), watch, |_core| Echo).unwrap())
}

#[tokio::test]
async fn the_asked_for_name_picks_the_certificate_and_any_other_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (eu, trust_eu) = certify(folder.path(), "eu.example");
    let (also, trust_also) = certify(folder.path(), "*.tenant.example");
    let acceptor = PublicAcceptor::load(vec![eu, also]).unwrap();
    let (_signal, serving) = serve_public(&acceptor);
    assert!(ask(&serving, &trust_eu, "eu.example").await.unwrap().ends_with("nobody"));
    assert!(ask(&serving, &trust_also, "one.tenant.example").await.unwrap().ends_with("nobody"));
    for (trust, name) in
        [(&trust_eu, "us.example"), (&trust_also, "tenant.example"), (&trust_also, "eu.example")]
    {
        ask(&serving, trust, name).await.expect_err(name);
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_presented_without_a_restart_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (files, trust_first) = certify(folder.path(), "eu.example");
    let acceptor = PublicAcceptor::load(vec![files.clone()]).unwrap();
    let (_signal, serving) = serve_public(&acceptor);
    assert!(ask(&serving, &trust_first, "eu.example").await.is_ok());
    fs::write(&files.certificate, "-----BEGIN CERTIFICATE-----\nno\n").unwrap();
    let (_files, trust_second) = certify(folder.path(), "eu.example");
    let renewed = async {
        while ask(&serving, &trust_second, "eu.example").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = acceptor.watch_files(std::future::pending()) => panic!("it follows until it is stopped"),
        renewed = tokio::time::timeout(PATIENCE, renewed) => renewed.expect("in time"),
    }
    ask(&serving, &trust_first, "eu.example").await.expect_err("no longer presented");
}

#[test]
fn a_key_that_others_may_read_or_that_is_another_certificates_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (one, _trust) = certify(folder.path(), "one.example");
    let (other, _trust) = certify(folder.path(), "other.example");
    let mixed = CertificateFiles { certificate: one.certificate.clone(), key: other.key };
    assert!(matches!(PublicAcceptor::load(vec![mixed]), Err(IdentityError::KeyMismatch)));
    fs::set_permissions(&one.key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(PublicAcceptor::load(vec![one]), Err(IdentityError::Permissive { .. })));
    assert!(PublicAcceptor::load(Vec::new()).is_err());
}
