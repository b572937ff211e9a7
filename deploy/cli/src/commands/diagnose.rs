//! `bailiwick diagnose`: everything that can be seen from this machine, whether or not the control plane answers.

use super::check::{advice, list_certificate, tcp, tls};
use crate::{
    checklist::{Checklist, Finding},
    connection::identity,
    contexts::{Context, Process, Selection},
    environment::Environment,
    failure::Exit,
    output::Output,
};

pub(super) async fn run(selection: &Selection, environment: &Environment, output: &Output) -> Exit {
    let mut list = Checklist::new(output);
    let context = match Context::resolve(selection, environment) {
        Ok(context) => context,
        Err(failure) => {
            list.check("context", Err(advice(failure)));
            return list.finish();
        }
    };
    let found = format!("{} (region {}) of {}", context.name, context.region, context.source.display());
    list.check("context", Ok(found));
    list_certificate(&context, &mut list);
    let identity = identity(&context).map_err(advice);
    let found = identity.as_ref().map(|identity| identity.spiffe_id().to_string());
    list.check("identity", found.map_err(|(problem, _)| (problem.clone(), "see the files above".to_owned())));
    let answers = list.check("admin address answers (TCP)", tcp(&context.admin).await);
    match (&identity, answers) {
        (Ok(identity), true) => {
            list.check("mutual TLS, and the region's identity", tls(identity, &context.admin).await);
        }
        (Ok(_), false) => list.skip("mutual TLS, and the region's identity", "nobody answers"),
        (Err(_), _) => list.skip("mutual TLS, and the region's identity", "needs an identity"),
    }
    if let Some(router) = &context.router {
        list.check("router answers (TCP)", router_answers(router).await);
    }
    for process in &context.processes {
        list.check(&format!("process {}", process.name), runs(process));
    }
    list.finish()
}

fn runs(process: &Process) -> Finding {
    if process.runs() {
        return Ok(format!("runs as {}", process.pid));
    }
    Err((
        format!("{} does not run any more", process.pid),
        format!("its last words: {}", process.log.display()),
    ))
}

async fn router_answers(url: &str) -> Finding {
    let malformed = || (format!("{url:?} is not a URL"), "correct the context".to_owned());
    let uri: tonic::transport::Uri = url.parse().map_err(|_malformed| malformed())?;
    let host = uri.host().ok_or_else(malformed)?;
    let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    tcp(&format!("{host}:{}", uri.port_u16().unwrap_or(usual)))
        .await
        .map_err(|(problem, _)| (problem, "does the router run there?".to_owned()))
}
