//! The control plane's own certificate is renewed at half of its life.

use super::{Runner, Scope};
use crate::own_identity::OwnIdentity;

pub(crate) async fn run(runner: Runner, own: OwnIdentity) {
    let every = own.look_interval();
    let work = || {
        let renewed = own.renew_when_due();
        async { renewed }
    };
    runner.run("certificate_renewal", Scope::Process, every, work).await;
}
