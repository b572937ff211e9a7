//! The control plane's own certificate is renewed at half of its life.

use std::time::Duration;

use super::{Runner, Scope};
use crate::own_identity::OwnIdentity;

const EVERY: Duration = Duration::from_secs(60);

pub(crate) async fn run(runner: Runner, own: OwnIdentity) {
    let work = || {
        let renewed = own.renew_when_due();
        async { renewed }
    };
    runner.run("certificate_renewal", Scope::Process, EVERY, work).await;
}
