//! `sign-tokens`: the region's own key signs whatever it is given, for attacks that present what comes of it. It exists in builds for development alone: what operators run
//! signs nothing but the tokens that service accounts ask for.

use bailiwick_vault::EdDsa;
use secrecy::SecretString;

use crate::{region::Ground, settings::Settings};

/// A token for each `header.claims`.
pub(crate) async fn sign_tokens(
    settings: &Settings,
    messages: &[String],
) -> anyhow::Result<Vec<SecretString>> {
    let ground = Ground::open(settings).await?;
    let key = ground.token_keys(settings)?.lend().await?;
    ground.sql.close().await;
    let signed = messages.iter().map(|message| EdDsa::sign_anything(&key, message));
    Ok(signed.collect::<Result<_, _>>()?)
}
