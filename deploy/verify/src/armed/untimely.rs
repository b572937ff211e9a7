//! Certificates of a region's own root, in the right role, whose time is not now. The region's own program issues them, as it would for whoever has got hold of it; their
//! keys are gone with this run.

use std::time::Duration;

use bailiwick_domain::{
    spiffe::ProcessRole,
    time::{Clock as _, SystemClock, Timestamp},
};
use bailiwick_runtime::identity::Identity;
use tempfile::TempDir;

use super::Armed;
use crate::{
    access::State,
    badge::Badge,
    store_copy::{complaint, folder, run, text},
};

const MINUTE: Duration = Duration::from_secs(60);

/// When a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    Over,
    ToCome,
}

impl Time {
    pub(crate) const ALL: [Self; 2] = [Self::Over, Self::ToCome];

    /// Longer ago, and further ahead, than clocks differ or this run lasts.
    fn ends(self, now: Timestamp) -> (Timestamp, Timestamp) {
        match self {
            Self::Over => (now.saturating_sub(MINUTE * 10), now.saturating_sub(MINUTE)),
            Self::ToCome => (now.saturating_add(MINUTE * 4), now.saturating_add(MINUTE * 5)),
        }
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Over => "has expired",
            Self::ToCome => "is not valid yet",
        })
    }
}

/// One for each end of each kind of connection.
pub(crate) struct Untimely {
    pub(crate) operator: Badge,
    pub(crate) router: Badge,
    pub(crate) control_plane: Identity,
}

impl Untimely {
    pub(super) async fn make(armed: &Armed, time: Time) -> Result<Self, String> {
        let state = armed.access.state.as_ref().ok_or("the region's programs are not on this machine")?;
        let operator = issue(state, armed, ProcessRole::Operator, time).await?;
        let router = issue(state, armed, ProcessRole::Router, time).await?;
        let control_plane = issue(state, armed, ProcessRole::ControlPlane, time).await?;
        let control_plane = Identity::load_dir(control_plane.path(), armed.domain.clone());
        Ok(Self {
            operator: Badge::load(operator.path())?,
            router: Badge::load(router.path())?,
            control_plane: control_plane.map_err(|error| error.to_string())?,
        })
    }
}

async fn issue(state: &State, armed: &Armed, role: ProcessRole, time: Time) -> Result<TempDir, String> {
    let out = folder()?;
    let (begins, ends) = time.ends(SystemClock.now());
    let (begins, ends) = (rfc3339(begins)?, rfc3339(ends)?);
    // Nobody else has this name, and a revocation of whoever has it later refuses this certificate too.
    let holder = ["--role", role.as_str(), "--name", &armed.run];
    let period = ["--not-before", &begins, "--not-after", &ends, "--out", text(out.path())?];
    let arguments = [&["issue-certificate"], &holder[..], &period].concat();
    let output = run(state, &arguments, &[]).await?;
    if !output.status.success() {
        return Err(format!("no such certificate was issued: {}", complaint(&output)));
    }
    Ok(out)
}

fn rfc3339(at: Timestamp) -> Result<String, String> {
    let at = jiff::Timestamp::from_microsecond(at.as_micros()).map_err(|error| error.to_string())?;
    Ok(at.to_string())
}
