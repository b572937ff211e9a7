//! Certificates of the target's own root that are good, but not here or not now, at whoever verifies one; and sessions that such a verification
//! would be skipped for.

use bailiwick_domain::spiffe::ProcessRole;
use bailiwick_runtime::identity::Connector;

use super::super::{admin_callers::Listener, keys::addresses, layer};
use crate::{
    armed::{Armed, untimely::Time},
    attack::Pair,
    attempt::{Attempt, Probe},
    false_control_plane::FalseControlPlane,
    knock::Speaks,
    worker_program::WorkerProgram,
};

pub(super) async fn attempts(pair: Pair<'_>) -> Vec<Attempt> {
    let target = pair.target;
    let (admin, processes, serving) = listeners(target);
    let worker = target.worker.as_ref().map(|process| &process.badge).map_err(String::as_str);
    let router = target.router.as_ref().map(|process| &process.badge).map_err(String::as_str);
    let mut attempts =
        vec![admin.wrong_role("worker", worker).await, admin.made_up(pair, ProcessRole::Operator).await];
    for time in Time::ALL {
        let made = target.untimely(time).await;
        let operator = made.as_ref().map(|made| &made.operator).map_err(String::as_str);
        let router = made.as_ref().map(|made| &made.router).map_err(String::as_str);
        attempts.push(admin.untimely("this region's own operator", time, operator).await);
        attempts.push(processes.untimely("this region's own router, at the worker API,", time, router).await);
        attempts.push(serving.untimely("this region's own router, at a worker,", time, router).await);
    }
    attempts.push(run(target).await);
    attempts.push(dial(target).await);
    attempts.push(admin.resumed("this region's own operator", Ok(&target.operator_badge)).await);
    attempts.push(processes.resumed("this region's own worker", worker).await);
    attempts.push(serving.resumed("this region's own router, at a worker", router).await);
    attempts
}

/// Everything that asks for a certificate: the admin API, the worker API, a worker.
fn listeners(target: &Armed) -> (Listener<'_>, Listener<'_>, Listener<'_>) {
    let of = |address, layer, speaks| Listener { address, layer, speaks };
    (
        of(Some(target.access.admin.as_str()), layer::ADMIN_TLS, Speaks::Grpc),
        of(target.access.processes.as_deref(), layer::PROCESS_TLS, Speaks::Grpc),
        of(addresses(target).next(), layer::WORKER_TLS, Speaks::Http),
    )
}

fn documented(time: Time) -> &'static str {
    match time {
        Time::Over => "certificate expired",
        Time::ToCome => "certificate not valid yet",
    }
}

fn served_by(who: &str, time: Time) -> Probe {
    let what = format!("a control plane of this region whose certificate {time}, at {who}");
    let expected = format!("the worker refuses the server: {}", documented(time));
    Probe::new(what, layer::WORKER_CONNECTOR, expected)
}

/// The region's worker program, pointed at a control plane that presents an expired certificate.
async fn run(target: &Armed) -> Attempt {
    let time = Time::Over;
    let probe = served_by("this region's worker program", time);
    let mut server = match false_control_plane(target, time).await {
        Ok(server) => server,
        Err(why) => return probe.not_attempted(why),
    };
    let mut worker = match WorkerProgram::start(target, &server.address.to_string()) {
        Ok(worker) => worker,
        Err(why) => return probe.not_attempted(why),
    };
    let said = tokio::select! {
        said = worker.trouble() => Some(said),
        Ok(_subscribed) = server.session() => None,
    };
    worker.end().await;
    match said {
        Some(Ok(said)) => probe.expect(said.contains(documented(time)), said),
        Some(Err(why)) => probe.unanswered(why),
        None => probe.expect(false, "the worker took it for its control plane"),
    }
}

/// The same decision by what this program shares with a worker, for a certificate that is not valid yet.
async fn dial(target: &Armed) -> Attempt {
    let time = Time::ToCome;
    let probe = served_by("what dials for a worker", time);
    let server = match false_control_plane(target, time).await {
        Ok(server) => server,
        Err(why) => return probe.not_attempted(why),
    };
    let connector = target.worker.as_ref().map_err(Clone::clone).and_then(|worker| {
        Connector::new(worker.identity.clone(), ProcessRole::ControlPlane).map_err(|error| error.to_string())
    });
    let connector = match connector {
        Ok(connector) => connector,
        Err(why) => return probe.not_attempted(why),
    };
    match connector.connect(server.address).await {
        Ok(_) => probe.expect(false, "the server was taken for a control plane"),
        Err(error) => {
            let said = error.to_string();
            probe.expect(said.contains(documented(time)), said)
        }
    }
}

async fn false_control_plane(target: &Armed, time: Time) -> Result<FalseControlPlane, String> {
    let identity = target.untimely(time).await?.control_plane.clone();
    FalseControlPlane::start(identity, Vec::new()).await
}
