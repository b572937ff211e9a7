//! TLS to whoever has a certificate that the public trusts.

use std::{io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio_rustls::TlsConnector;

/// Trusts the roots that browsers trust, as Mozilla lists them, and those in `more`; offers these protocols (ALPN, RFC 7301), the first one rather than the next: `http/1.1`, `h2`.
///
/// # Errors
/// The library refuses its own default settings, or one of `more` is no authority's certificate.
pub fn public_tls(protocols: &[&[u8]], more: &[CertificateDer<'_>]) -> Result<TlsConnector, rustls::Error> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for authority in more {
        roots.add(authority.clone().into_owned())?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_safe_default_protocol_versions()?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The certificates in a PEM file, of authorities that are trusted beside those that the public trusts.
///
/// # Errors
/// It cannot be read, or has no certificate in it.
pub fn authorities(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let told = |problem: String| io::Error::other(format!("{}: {problem}", file.display()));
    let text = std::fs::read(file).map_err(|error| told(error.to_string()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| told(error.to_string()))?;
    if found.is_empty() { Err(told("no PEM certificate in it".to_owned())) } else { Ok(found) }
}
