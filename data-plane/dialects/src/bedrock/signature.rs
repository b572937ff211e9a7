//! AWS Signature Version 4 (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>). Credentials and time are the caller's.
//!
//! The signer writes what it signs into its traces, and bodies too where `LOG_SIGNABLE_BODY` is set. So the body goes in as its digest alone (R8).

use std::{fmt, time::SystemTime};

use aws_credential_types::Credentials;
use aws_lc_rs::digest;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings},
    sign::v4,
};
use aws_smithy_runtime_api::client::identity::Identity;

/// An AWS credential, borrowed for one signature.
#[derive(Clone, Copy)]
pub struct AwsCredentials<'a> {
    /// Names the key.
    pub access_key_id: &'a str,
    /// The key.
    pub secret_access_key: &'a str,
    /// With temporary credentials.
    pub session_token: Option<&'a str>,
}

impl fmt::Debug for AwsCredentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What cannot be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request cannot be signed")]
pub struct SigningError;

/// The headers to add to a `POST` of `body` to `url`. `headers`: those of the request that are signed too, `host` among them unless it is `url`'s.
pub fn sign(
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    credentials: AwsCredentials<'_>,
    region: &str,
    service: &str,
    now: SystemTime,
) -> Result<Vec<(String, String)>, SigningError> {
    let identity = Identity::from(Credentials::new(
        credentials.access_key_id,
        credentials.secret_access_key,
        credentials.session_token.map(str::to_owned),
        None,
        "deployment",
    ));
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .map_err(|_| SigningError)?
        .into();
    let digest = SignableBody::Precomputed(hexadecimal(digest::digest(&digest::SHA256, body).as_ref()));
    let request =
        SignableRequest::new("POST", url, headers.iter().copied(), digest).map_err(|_| SigningError)?;
    let signed = aws_sigv4::http_request::sign(request, &parameters).map_err(|_| SigningError)?;
    let (headers, _) = signed.into_parts().0.into_parts();
    Ok(headers.iter().map(|header| (header.name().to_owned(), header.value().to_owned())).collect())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
