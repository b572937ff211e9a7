//! A master key in the transit engine of HashiCorp Vault or OpenBao: `encrypt` and `decrypt`, with the data key's place as associated data
//! (<https://developer.hashicorp.com/vault/api-docs/secret/transit>; associated data needs an AES-GCM or ChaCha20 key and Vault 1.9).

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bailiwick_core::ports::vault::VaultError;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use url::Url;
use zeroize::{Zeroize, Zeroizing};

use super::{DataKeyBytes, KeyPlace, Wrapping, data_key};

const CONCURRENT_CALLS: usize = 32;
const CALL: Duration = Duration::from_secs(5);
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);
/// An answer is a few hundred bytes.
const LARGEST_ANSWER: usize = 64 << 10;

/// Where the key is.
#[derive(Debug)]
pub struct TransitKey {
    /// Base URL, e.g. `https://vault.internal:8200`.
    pub address: Url,
    /// Mount of the engine, e.g. `transit`.
    pub mount: String,
    /// Name of the key in it.
    pub key: String,
    /// A token that may encrypt and decrypt with the key.
    pub token: SecretString,
    /// PEM of the authorities that may vouch for the server; none: those that browsers trust.
    pub root_pem: Option<String>,
}

/// Wraps by calling the engine.
pub(crate) struct TransitWrapping {
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    key: TransitKey,
    token: HeaderValue,
    name: String,
    turns: Semaphore,
}

#[derive(Serialize)]
struct Encrypt<'a> {
    plaintext: &'a str,
    associated_data: &'a str,
}

#[derive(Serialize)]
struct Decrypt<'a> {
    ciphertext: &'a str,
    associated_data: &'a str,
}

#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Deserialize)]
struct Encrypted {
    ciphertext: String,
}

#[derive(Deserialize)]
struct Decrypted {
    plaintext: String,
}

impl Drop for Decrypted {
    fn drop(&mut self) {
        self.plaintext.zeroize();
    }
}

impl TransitWrapping {
    pub(crate) fn new(key: TransitKey) -> Result<Self, VaultError> {
        let mut token = HeaderValue::try_from(key.token.expose_secret())
            .map_err(|_| VaultError::MasterKey("the token for Vault is no header value".to_owned()))?;
        token.set_sensitive(true);
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let https =
            HttpsConnectorBuilder::new().with_tls_config(tls(key.root_pem.as_deref())?).https_or_http();
        // It follows no redirects: one could lead anywhere.
        let http = Client::builder(TokioExecutor::new()).build(https.enable_http1().wrap_connector(tcp));
        let name = format!("vault-transit:{}/{}", key.mount, key.key);
        Ok(Self { http, key, token, name, turns: Semaphore::new(CONCURRENT_CALLS) })
    }

    async fn call<T: for<'de> Deserialize<'de>>(
        &self,
        operation: &'static str,
        request: &(impl Serialize + Sync),
    ) -> Result<T, VaultError> {
        let _turn = self.turns.acquire().await.map_err(|_| VaultError::Crypto)?;
        let mut attempt = 1;
        loop {
            match self.attempt(operation, request).await {
                Err(VaultError::Unavailable(_)) if attempt < ATTEMPTS => {
                    // Full jitter: those who failed together do not come back together.
                    tokio::time::sleep(PAUSE.mul_f64(rand::random::<f64>() * f64::from(attempt))).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn attempt<T: for<'de> Deserialize<'de>>(
        &self,
        operation: &'static str,
        request: &(impl Serialize + Sync),
    ) -> Result<T, VaultError> {
        let body = Zeroizing::new(serde_json::to_vec(request).map_err(|_| VaultError::Crypto)?);
        let request = self.request(operation, &body)?;
        let exchange = async {
            let answer = self.http.request(request).await.map_err(|error| away(&error))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, LARGEST_ANSWER).collect().await;
            let body = body.map_err(|_| VaultError::Unavailable("Vault: the answer broke off".to_owned()))?;
            Ok::<_, VaultError>((head.status, Zeroizing::new(body.to_bytes().to_vec())))
        };
        let late = |_elapsed| VaultError::Unavailable("Vault: no answer in time".to_owned());
        match tokio::time::timeout(CALL, exchange).await.map_err(late)?? {
            (StatusCode::OK, body) => {
                let answer: Answer<T> = serde_json::from_slice(&body).map_err(|_| VaultError::Crypto)?;
                Ok(answer.data)
            }
            // Vault answers so where a ciphertext does not open; and where the key is not there, which then opens nothing either.
            (StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND, _) => Err(VaultError::DoesNotOpen),
            (status, _) => Err(VaultError::Unavailable(format!("Vault answered {status}"))),
        }
    }

    fn request(&self, operation: &'static str, body: &[u8]) -> Result<Request<Full<Bytes>>, VaultError> {
        let TransitKey { address, mount, key, .. } = &self.key;
        let url = format!("{}/v1/{mount}/{operation}/{key}", address.as_str().trim_end_matches('/'));
        Request::builder()
            .method(Method::POST)
            .uri(url)
            .header("x-vault-token", self.token.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::copy_from_slice(body)))
            .map_err(|_| VaultError::MasterKey("the address of Vault is no URL to call".to_owned()))
    }
}

/// Names what failed, not what was sent.
fn away(error: &hyper_util::client::legacy::Error) -> VaultError {
    let what = if error.is_connect() { "cannot be reached" } else { "broke off" };
    VaultError::Unavailable(format!("Vault {what}"))
}

fn tls(root_pem: Option<&str>) -> Result<ClientConfig, VaultError> {
    let unusable =
        |problem: &dyn std::fmt::Display| VaultError::MasterKey(format!("Vault's root: {problem}"));
    let mut roots = RootCertStore::empty();
    match root_pem {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|error| unusable(&error))?;
                roots.add(certificate).map_err(|error| unusable(&error))?;
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[async_trait]
impl Wrapping for TransitWrapping {
    fn name(&self) -> &str {
        &self.name
    }

    async fn wrap(&self, place: KeyPlace, key: &DataKeyBytes) -> Result<Vec<u8>, VaultError> {
        let plaintext = Zeroizing::new(STANDARD.encode(key.as_ref()));
        let request = Encrypt { plaintext: &plaintext, associated_data: &STANDARD.encode(place.aad()) };
        match self.call::<Encrypted>("encrypt", &request).await {
            Ok(answer) => Ok(answer.ciphertext.into_bytes()),
            Err(VaultError::DoesNotOpen) => Err(VaultError::MasterKey(format!(
                "{} cannot encrypt with associated data: it is missing, or not an AES-GCM or ChaCha20 key",
                self.name
            ))),
            Err(error) => Err(error),
        }
    }

    async fn unwrap(&self, place: KeyPlace, wrapped: &[u8]) -> Result<DataKeyBytes, VaultError> {
        let ciphertext = std::str::from_utf8(wrapped).map_err(|_| VaultError::DoesNotOpen)?;
        let request = Decrypt { ciphertext, associated_data: &STANDARD.encode(place.aad()) };
        let answer = self.call::<Decrypted>("decrypt", &request).await?;
        let bytes = Zeroizing::new(STANDARD.decode(&answer.plaintext).map_err(|_| VaultError::DoesNotOpen)?);
        data_key(&bytes)
    }
}
