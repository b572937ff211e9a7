//! A fresh key, and the request to certify it.

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use secrecy::{ExposeSecret, SecretString};

/// A private key as PKCS #8 PEM. Opaque to `Debug`, zeroed when dropped.
#[derive(Debug, Clone)]
pub struct PrivateKeyPem(pub SecretString);

impl PrivateKeyPem {
    /// The PEM text. A secret.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// A PKCS #10 certificate signing request as PEM. It names nobody: role and name come from the join token, or from the certificate
/// that is renewed.
#[derive(Debug, Clone)]
pub struct CsrPem(pub String);

/// The cryptographic library could not make a key or sign with it.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a key and a certificate signing request")]
pub struct CsrError(#[from] rcgen::Error);

/// Makes a P-256 key and a signing request for it.
///
/// # Errors
/// The library's random source or its signature fails.
pub fn new_key_and_csr() -> Result<(PrivateKeyPem, CsrPem), CsrError> {
    let key = KeyPair::generate()?;
    let mut request = CertificateParams::default();
    request.distinguished_name = DistinguishedName::new();
    let csr = request.serialize_request(&key)?.pem()?;
    Ok((PrivateKeyPem(key.serialize_pem().into()), CsrPem(csr)))
}
