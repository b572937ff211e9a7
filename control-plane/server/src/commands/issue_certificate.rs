//! `issue-certificate`: a certificate of any role, for as long as is asked for.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bailiwick_core::{enrollment::Period, ports::vault::Validity};
use bailiwick_domain::{
    spiffe::{ProcessRole, SpiffeId},
    time::{Clock as _, SystemClock, Timestamp},
};
use bailiwick_runtime::identity::{Identity, Material, new_key_and_csr};
use clap::ValueEnum;

use crate::{
    region::{self, Region},
    settings::Settings,
};

/// What the operator asks for.
#[derive(Debug, clap::Args)]
pub(crate) struct CertificateArguments {
    /// What the holder is: an operator may do everything, a service changes nothing of the region itself.
    #[arg(long, value_enum)]
    role: Role,
    /// Name in the certificate and in audit records: lower-case letters, digits and hyphens.
    #[arg(long)]
    name: String,
    /// Folder to write to; made when missing.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Minutes until the certificate ends: up to 525600 (a year) for operators and services, 1440 (a day) for processes.
    #[arg(long, default_value_t = 1440, value_parser = clap::value_parser!(u64).range(1..=525_600))]
    minutes: u64,
    /// When the certificate begins, e.g. 2026-01-31T12:00:00Z, instead of now: a year ago at most, and 5 minutes from now at most, because a revocation does not
    /// reach a certificate that begins after it. With this or --not-after, certificates that have expired, or are not valid yet, show whether your monitoring
    /// notices them.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    not_before: Option<Timestamp>,
    /// When it ends, instead of after --minutes. May be over, if --not-before is too. Its life is bounded as by --minutes, and it ends before the region's root does.
    #[arg(long, value_name = "TIME", value_parser = instant, conflicts_with = "minutes")]
    not_after: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    ControlPlane,
    Worker,
    Router,
    Operator,
    Service,
}

impl From<Role> for ProcessRole {
    fn from(role: Role) -> Self {
        match role {
            Role::ControlPlane => Self::ControlPlane,
            Role::Worker => Self::Worker,
            Role::Router => Self::Router,
            Role::Operator => Self::Operator,
            Role::Service => Self::Service,
        }
    }
}

/// Of RFC 3339. Certificates know whole seconds.
fn instant(text: &str) -> Result<Timestamp, &'static str> {
    let at: jiff::Timestamp = text.parse().map_err(|_| "a time is written as 2026-01-31T12:00:00Z")?;
    Ok(Timestamp::from_micros(at.as_second().saturating_mul(1_000_000)))
}

impl CertificateArguments {
    /// Issues it.
    pub(crate) async fn run(&self, settings: &Settings) -> anyhow::Result<String> {
        let period = self.period(SystemClock.now());
        issue_certificate(settings, self.role.into(), &self.name, &self.out, period).await
    }

    fn period(&self, now: Timestamp) -> Period {
        let lifetime = Duration::from_secs(self.minutes * 60);
        match (self.not_before, self.not_after) {
            (None, None) => Period::Lasting(lifetime),
            (None, Some(until)) => Period::Lasting(until.saturating_since(now)),
            (Some(from), until) => {
                let until = until.unwrap_or_else(|| from.saturating_add(lifetime));
                Period::Between(Validity { from, until })
            }
        }
    }
}

/// Issues a certificate of any role: whoever can read the master key could sign one anyway.
pub(crate) async fn issue_certificate(
    settings: &Settings,
    role: ProcessRole,
    name: &str,
    out: &Path,
    period: Period,
) -> anyhow::Result<String> {
    let holder = SpiffeId::new(settings.region.trust_domain.clone(), role, name)?;
    let region = Region::open(settings).await?;
    let (key, csr) = new_key_and_csr()?;
    let enrollment = region.enrollment(settings);
    let issued = enrollment.certify(&region::actor(settings)?, &holder, &csr.0, period).await?;
    region.ground.sql.close().await;
    let root_pem = region.authority.roots_pem();
    let material = Material { root_pem, certificate_pem: issued.certificate_pem, key_pem: key.0 };
    Identity::establish(out, settings.region.trust_domain.clone(), &material)?;
    Ok(format!("{holder}: ca.pem, cert.pem and key.pem are in {}", out.display()))
}

#[cfg(test)]
mod tests;
