//! `bailiwick token`: for programs that call the admin API by themselves.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use crate::{
    connection::{exchange, visitor},
    contexts::Context,
    failure::Failure,
    input::{line, secret_in},
    output::{Output, Record},
    when::duration,
};

#[derive(Debug, Args)]
pub(crate) struct TokenArguments {
    /// File that holds the service account's secret; without it, that of the context, or else standard input
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// How long the token lives, at most 15 minutes
    #[arg(long, value_parser = duration, default_value = "15m", value_name = "DURATION")]
    lifetime: Duration,
}

impl TokenArguments {
    pub(crate) async fn run(self, context: &Context, output: &Output) -> Result<(), Failure> {
        let file = self.secret_file.as_ref().or(context.service_account.as_ref());
        let secret = file.map_or_else(line, |file| secret_in(file))?;
        let seconds = u32::try_from(self.lifetime.as_secs()).unwrap_or(u32::MAX);
        let issued = exchange(&visitor(context)?, &secret, seconds).await?;
        output.one(
            &Record::default()
                .text("token", issued.token)
                .time("expires", issued.expires_at_micros)
                .text("service_account", issued.service_account_id)
                .text("organization", issued.organization_id)
                .text("role", issued.role),
        );
        Ok(())
    }
}
