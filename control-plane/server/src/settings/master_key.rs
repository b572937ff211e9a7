//! `[master_key]`: where the master key is, and where earlier ones are whose data keys are not rotated yet.

use std::path::PathBuf;

use anyhow::Context as _;
use bailiwick_domain::region::RegionName;
use bailiwick_runtime::configuration::{Problems, SecretSource, variable};
use bailiwick_vault::{KmsCredentials, KmsKeyArn, MasterKey, MasterKeySource, TransitKey};
use serde::Deserialize;
use url::Url;

/// Earlier master keys.
const MOST_PREVIOUS: usize = 8;

/// The present master key, and earlier ones.
#[derive(Clone, Debug)]
pub(crate) struct MasterKeySection {
    pub(crate) current: MasterKeyPlace,
    pub(crate) previous: Vec<MasterKeyPlace>,
}

/// Where a master key is.
#[derive(Clone, Debug)]
pub(crate) enum MasterKeyPlace {
    Here(SecretSource),
    Kms { arn: KmsKeyArn, endpoint: Option<Url> },
    Transit { address: Url, mount: String, key: String, token: SecretSource, root: Option<PathBuf> },
}

/// The same as it is written: exactly one of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawMasterKey {
    file: Option<PathBuf>,
    env: Option<String>,
    aws_kms: Option<RawKms>,
    vault_transit: Option<RawTransit>,
    #[serde(default)]
    previous: Vec<RawMasterKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKms {
    key: String,
    endpoint: Option<Url>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTransit {
    address: Url,
    mount: Option<String>,
    key: String,
    token: SecretSource,
    root: Option<PathBuf>,
}

/// Checks the section for a region: a master key that lies in another one is a problem.
pub(super) fn check(
    raw: RawMasterKey,
    region: Option<&RegionName>,
    problems: &mut Problems,
) -> Option<MasterKeySection> {
    let RawMasterKey { previous, .. } = &raw;
    if previous.len() > MOST_PREVIOUS {
        problems.report("previous", format!("has {} entries; at most {MOST_PREVIOUS}", previous.len()));
    }
    let mut raw = raw;
    let previous = std::mem::take(&mut raw.previous);
    let current = place(raw, region, problems);
    let previous: Vec<_> = previous
        .into_iter()
        .enumerate()
        .map(|(index, one)| {
            problems.nested(&format!("previous[{index}]"), |problems| {
                if !one.previous.is_empty() {
                    problems.report("previous", "an earlier master key has no earlier ones of its own");
                }
                place(one, region, problems)
            })
        })
        .collect();
    Some(MasterKeySection { current: current?, previous: previous.into_iter().collect::<Option<_>>()? })
}

fn place(raw: RawMasterKey, region: Option<&RegionName>, problems: &mut Problems) -> Option<MasterKeyPlace> {
    match (raw.file, raw.env, raw.aws_kms, raw.vault_transit) {
        (Some(file), None, None, None) => Some(MasterKeyPlace::Here(SecretSource::File(file))),
        (None, Some(name), None, None) => Some(MasterKeyPlace::Here(SecretSource::Env(name))),
        (None, None, Some(kms), None) => {
            problems.nested("aws_kms", |problems| self::kms(kms, region, problems))
        }
        (None, None, None, Some(transit)) => {
            problems.nested("vault_transit", |problems| self::transit(transit, problems))
        }
        _ => {
            problems.report("", "is exactly one of file, env, aws_kms, vault_transit");
            None
        }
    }
}

fn kms(raw: RawKms, region: Option<&RegionName>, problems: &mut Problems) -> Option<MasterKeyPlace> {
    let arn: KmsKeyArn = problems.parse("key", &raw.key)?;
    // A region that is missing is a problem of its own.
    if let Err(foreign) = arn.check_region(region?) {
        problems.report("key", foreign);
        return None;
    }
    Some(MasterKeyPlace::Kms { arn, endpoint: raw.endpoint })
}

fn transit(raw: RawTransit, problems: &mut Problems) -> Option<MasterKeyPlace> {
    let mount = raw.mount.unwrap_or_else(|| "transit".to_owned());
    for (field, text) in [("mount", &mount), ("key", &raw.key)] {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte);
        if text.is_empty() || !text.bytes().all(good) {
            problems.report(field, "is letters, digits, hyphens and underscores");
        }
    }
    let loopback =
        raw.address.host_str().is_some_and(|host| ["127.0.0.1", "[::1]", "localhost"].contains(&host));
    if raw.address.scheme() != "https" && !loopback {
        problems.report(
            "address",
            "is an https:// URL: data keys and the token would cross the network in the clear",
        );
        return None;
    }
    let RawTransit { address, key, token, root, .. } = raw;
    Some(MasterKeyPlace::Transit { address, mount, key, token, root })
}

impl MasterKeyPlace {
    /// Reads what is needed to use it; calls no service.
    pub(crate) fn open(&self) -> anyhow::Result<MasterKeySource> {
        Ok(match self {
            Self::Here(source) => {
                let text = source.read().context(
                    "the master key cannot be read; for a new region, `init --generate-master-key` writes one",
                )?;
                MasterKeySource::Local(MasterKey::parse(&text)?)
            }
            Self::Kms { arn, endpoint } => MasterKeySource::Kms {
                arn: arn.clone(),
                endpoint: endpoint.clone(),
                credentials: credentials(),
            },
            Self::Transit { address, mount, key, token, root } => MasterKeySource::Transit(TransitKey {
                address: address.clone(),
                mount: mount.clone(),
                key: key.clone(),
                token: token.read().context("the token for Vault cannot be read")?,
                root_pem: root
                    .as_ref()
                    .map(|path| {
                        std::fs::read_to_string(path)
                            .with_context(|| format!("{} cannot be read", path.display()))
                    })
                    .transpose()?,
            }),
        })
    }
}

/// Those that stood in the environment: AWS's library would look for them there, and they are hidden.
fn credentials() -> Option<KmsCredentials> {
    let secret = |name| variable(name).filter(|value| !value.is_empty()).map(|value| value.as_str().into());
    Some(KmsCredentials {
        access_key_id: secret("AWS_ACCESS_KEY_ID")?,
        secret_access_key: secret("AWS_SECRET_ACCESS_KEY")?,
        session_token: secret("AWS_SESSION_TOKEN"),
    })
}
