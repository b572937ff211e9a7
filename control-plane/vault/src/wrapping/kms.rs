//! A master key in AWS KMS: `Encrypt` and `Decrypt` with an encryption context that names the data key's place
//! (<https://docs.aws.amazon.com/kms/latest/developerguide/encrypt_context.html>). The key never leaves the service, and each use of it stands in
//! the account's own trail.

use std::{collections::HashMap, fmt, str::FromStr, time::Duration};

use async_trait::async_trait;
use aws_sdk_kms::{
    Client,
    config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider, timeout::TimeoutConfig},
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    operation::decrypt::DecryptError,
    primitives::Blob,
};
use aws_smithy_http_client::{Builder, tls};
use bailiwick_core::ports::vault::VaultError;
use bailiwick_domain::region::RegionName;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;
use url::Url;
use zeroize::Zeroizing;

use super::{DataKeyBytes, KeyPlace, Wrapping, data_key};

/// Calls to the service that are under way at once; others wait for their turn.
const CONCURRENT_CALLS: usize = 32;
/// One attempt. The SDK makes three, with jittered pauses.
const ATTEMPT: Duration = Duration::from_secs(3);
/// All attempts of a call.
const CALL: Duration = Duration::from_secs(10);
/// How long the account's credentials may take.
const LONGEST_NAME: usize = 2048;

/// Names a KMS key: `arn:aws:kms:<region>:<account>:key/<id>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsKeyArn {
    text: String,
    region: String,
}

impl KmsKeyArn {
    /// Refuses a key of another region than the one whose data keys it would wrap (a region's master key lies in that region), and keys that exist in
    /// several regions at once.
    pub fn check_region(&self, region: &RegionName) -> Result<(), KmsKeyArnError> {
        if self.region != region.as_str() {
            return Err(KmsKeyArnError::Foreign { found: self.region.clone(), expected: region.to_string() });
        }
        Ok(())
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for KmsKeyArn {
    type Err = KmsKeyArnError;

    fn from_str(text: &str) -> Result<Self, KmsKeyArnError> {
        if text.len() > LONGEST_NAME {
            return Err(KmsKeyArnError::Malformed);
        }
        let mut parts = text.split(':');
        let [arn, partition, service, region, account, resource] =
            std::array::from_fn(|_| parts.next().unwrap_or_default());
        let id = resource.strip_prefix("key/").unwrap_or_default();
        let named = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') && !id.is_empty();
        let accounted = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        let known = arn == "arn" && partition.starts_with("aws") && service == "kms" && !region.is_empty();
        if !(known && accounted && named && parts.next().is_none()) {
            return Err(KmsKeyArnError::Malformed);
        }
        if id.starts_with("mrk-") {
            return Err(KmsKeyArnError::MultiRegion);
        }
        Ok(Self { text: text.to_owned(), region: region.to_owned() })
    }
}

impl fmt::Display for KmsKeyArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// What is wrong with the name of a KMS key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KmsKeyArnError {
    /// Not the ARN of a key. An alias is none: it can be moved to another key without a word.
    #[error("is not the ARN of a key: arn:aws:kms:<region>:<account>:key/<id> (an alias could be moved)")]
    Malformed,
    /// A key with replicas elsewhere.
    #[error(
        "is a multi-Region key: its material may exist in other regions, and this region's master key must not"
    )]
    MultiRegion,
    /// A key of another region.
    #[error("is a key of {found}; this region's master key must lie in {expected}")]
    Foreign {
        /// The key's region.
        found: String,
        /// This one.
        expected: String,
    },
}

/// What the account knows this process by, where it was given to it in variables that it has hidden since.
#[derive(Clone, Debug)]
pub struct KmsCredentials {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: SecretString,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: SecretString,
    /// `AWS_SESSION_TOKEN`, for credentials that end.
    pub session_token: Option<SecretString>,
}

impl KmsCredentials {
    fn provider(&self) -> SharedCredentialsProvider {
        let session = self.session_token.as_ref().map(|token| token.expose_secret().to_owned());
        let (id, secret) = (self.access_key_id.expose_secret(), self.secret_access_key.expose_secret());
        SharedCredentialsProvider::new(Credentials::new(id, secret, session, None, "environment"))
    }
}

/// Wraps by calling the service.
pub(crate) struct KmsWrapping {
    client: Client,
    arn: KmsKeyArn,
    turns: Semaphore,
}

impl KmsWrapping {
    /// Credentials that are not given come from where AWS's own tools look for them: shared files, web identity, container, instance.
    pub(crate) async fn new(
        arn: KmsKeyArn,
        endpoint: Option<&Url>,
        credentials: Option<&KmsCredentials>,
    ) -> Self {
        let http =
            Builder::new().tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc));
        let timeouts =
            TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).operation_timeout(CALL).build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http.build_https())
            .region(Region::new(arn.region.clone()))
            .timeout_config(timeouts);
        if let Some(credentials) = credentials {
            loader = loader.credentials_provider(credentials.provider());
        }
        let shared = loader.load().await;
        let mut config = aws_sdk_kms::config::Builder::from(&shared);
        if let Some(endpoint) = endpoint {
            config = config.endpoint_url(endpoint.as_str());
        }
        Self { client: Client::from_conf(config.build()), arn, turns: Semaphore::new(CONCURRENT_CALLS) }
    }

    fn context(place: KeyPlace) -> HashMap<String, String> {
        place.context().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

#[async_trait]
impl Wrapping for KmsWrapping {
    fn name(&self) -> &str {
        self.arn.as_str()
    }

    async fn wrap(&self, place: KeyPlace, key: &DataKeyBytes) -> Result<Vec<u8>, VaultError> {
        let _turn = self.turns.acquire().await.map_err(|_| VaultError::Crypto)?;
        let call = self
            .client
            .encrypt()
            .key_id(self.arn.as_str())
            .set_encryption_context(Some(Self::context(place)))
            .plaintext(Blob::new(key.to_vec()));
        let answer = call.send().await.map_err(|error| unavailable(&error))?;
        answer.ciphertext_blob.map(Blob::into_inner).ok_or(VaultError::Crypto)
    }

    async fn unwrap(&self, place: KeyPlace, wrapped: &[u8]) -> Result<DataKeyBytes, VaultError> {
        let _turn = self.turns.acquire().await.map_err(|_| VaultError::Crypto)?;
        let call = self
            .client
            .decrypt()
            .key_id(self.arn.as_str())
            .set_encryption_context(Some(Self::context(place)))
            .ciphertext_blob(Blob::new(wrapped.to_vec()));
        match call.send().await {
            Ok(answer) => {
                let plaintext = answer.plaintext.map(Blob::into_inner).map(Zeroizing::new);
                data_key(&plaintext.ok_or(VaultError::Crypto)?)
            }
            Err(error) if is_refusal(&error) => Err(VaultError::DoesNotOpen),
            Err(error) => Err(unavailable(&error)),
        }
    }
}

/// The ciphertext is of another key or place, or damaged: trying again changes nothing.
fn is_refusal(error: &SdkError<DecryptError>) -> bool {
    error
        .as_service_error()
        .is_some_and(|error| error.is_invalid_ciphertext_exception() || error.is_incorrect_key_exception())
}

/// Everything else is the service's or the account's affair, and can pass: what it says names the key, and never its material.
fn unavailable<E>(error: &SdkError<E>) -> VaultError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let code = error.code().unwrap_or("no answer");
    tracing::debug!(error = %DisplayErrorContext(error), "AWS KMS did not do what it was asked");
    VaultError::Unavailable(format!("AWS KMS: {code}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

    #[test]
    fn r4_a_master_key_lies_in_its_own_region_and_nowhere_else() {
        let arn: KmsKeyArn = KEY.parse().expect("an ARN");
        let region = |name: &str| name.parse::<RegionName>().expect("a region");
        arn.check_region(&region("eu-central-1")).expect("at home");
        let foreign = arn.check_region(&region("us-east-1")).expect_err("foreign").to_string();
        assert!(foreign.contains("eu-central-1") && foreign.contains("us-east-1"), "{foreign}");
        let everywhere = KEY.replace("1234abcd-", "mrk-1234abcd-");
        assert_eq!(everywhere.parse::<KmsKeyArn>(), Err(KmsKeyArnError::MultiRegion));
    }

    #[test]
    fn what_names_no_key_for_good_is_refused() {
        for text in [
            "",
            "1234abcd-12ab-34cd-56ef-1234567890ab",
            "arn:aws:kms:eu-central-1:111122223333:alias/master",
            "arn:aws:s3:eu-central-1:111122223333:key/1",
            "arn:aws:kms::111122223333:key/1",
            "arn:aws:kms:eu-central-1:1:key/1",
            "arn:aws:kms:eu-central-1:111122223333:key/",
            "arn:aws:kms:eu-central-1:111122223333:key/1:2",
            "arn:aws:kms:eu-central-1:111122223333:key/1/../2",
        ] {
            assert_eq!(text.parse::<KmsKeyArn>(), Err(KmsKeyArnError::Malformed), "{text}");
        }
        let endless = format!("{KEY}{}", "a".repeat(4096));
        assert_eq!(endless.parse::<KmsKeyArn>(), Err(KmsKeyArnError::Malformed));
    }
}
