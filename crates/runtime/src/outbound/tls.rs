//! TLS to whoever has a certificate that the public trusts.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs::default_provider};
use tokio_rustls::TlsConnector;

/// Trusts the roots that browsers trust, as Mozilla lists them, and offers one protocol (ALPN, RFC 7301): `http/1.1` or `h2`.
///
/// # Errors
/// The library refuses its own default settings.
pub fn public_tls(protocol: &[u8]) -> Result<TlsConnector, rustls::Error> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_safe_default_protocol_versions()?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
