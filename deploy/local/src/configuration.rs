//! The configuration files of a region's processes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde_json::{Value, json};

use crate::{
    layout::{INSTALLATION, Layout, RegionLayout, WorkerLayout},
    upstream::{Kind, Upstream},
};

/// Files of one region, written.
pub(crate) struct Written {
    pub(crate) control_plane: PathBuf,
    pub(crate) workers: Vec<PathBuf>,
    pub(crate) router: PathBuf,
}

/// Folder of the operator's certificate.
pub(crate) fn operator_dir(region: &RegionLayout) -> PathBuf {
    region.dir.join("operator")
}

/// File that holds a process's join token until it has enrolled.
pub(crate) fn join_token(region: &RegionLayout, process: &str) -> PathBuf {
    region.dir.join(process).join("join-token")
}

/// Folder of a process's certificate.
pub(crate) fn identity_dir(region: &RegionLayout, process: &str) -> PathBuf {
    region.dir.join(process).join("identity")
}

/// Writes all of a region's files.
pub(crate) fn write(layout: &Layout, region: &RegionLayout, upstream: &Upstream) -> anyhow::Result<Written> {
    let control_plane = write_one(region, "control-plane", &control_plane(layout, region, upstream))?;
    let workers = region
        .workers
        .iter()
        .map(|worker| write_one(region, &worker.name, &self::worker(layout, region, worker, upstream)));
    let workers = workers.collect::<Result<_, _>>()?;
    let router = write_one(region, "router", &router(layout, region))?;
    Ok(Written { control_plane, workers, router })
}

fn write_one(region: &RegionLayout, process: &str, settings: &Value) -> anyhow::Result<PathBuf> {
    let dir = region.dir.join(process);
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let file = dir.join("config.toml");
    let text = format!("# Written by bailiwick-local at every start.\n\n{}", toml::to_string(settings)?);
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

fn shared(layout: &Layout, region: &RegionLayout, ops: std::net::SocketAddr) -> Value {
    let endpoints = layout
        .regions
        .iter()
        .map(|other| json!({"name": other.name, "url": format!("http://{}", other.router)}));
    json!({
        "region": {"name": region.name, "installation": INSTALLATION, "endpoints": endpoints.collect::<Vec<_>>()},
        // Nothing is sent unless `otlp_endpoint` says so; a collector beside the provider is each region's own.
        "telemetry": {"log": "info", "allow": [{
            "pattern": layout.provider.ip(),
            "jurisdiction": home(region),
            "private_ranges": [format!("{}/32", layout.provider.ip())],
        }]},
        "ops": {"listen": ops},
    })
}

fn merged(mut base: Value, more: Value) -> Value {
    if let (Value::Object(base), Value::Object(more)) = (&mut base, more) {
        base.extend(more);
    }
    base
}

fn control_plane(layout: &Layout, region: &RegionLayout, upstream: &Upstream) -> Value {
    let dir = region.dir.join("control-plane");
    let own = json!({
        "store": {"url": format!("sqlite://{}", path(&dir.join("region.db")))},
        "master_key": {"file": path(&dir.join("master.key"))},
        "admin": {"listen": region.admin},
        "workers": {"listen": region.worker_api},
        "enrollment": {"listen": region.enrollment},
        "tokens": {"listen": region.tokens},
        "identity": {"dir": path(&dir.join("identity"))},
        "egress": {"hosts": egress(region, upstream), "issuers": issuers(region, upstream)},
        // Nobody from elsewhere reaches it: whoever can reach the router may sign up.
        "signup": {"mode": "open"},
        "prices": upstream.prices(),
    });
    merged(shared(layout, region, region.control_plane_ops), own)
}

/// A provider that is simulated may issue the tokens for itself; nobody else does, unless an operator says so.
fn issuers(region: &RegionLayout, upstream: &Upstream) -> Vec<Value> {
    let own = (upstream.kind == Kind::Simulated).then(|| {
        json!({"pattern": upstream.host(), "jurisdiction": home(region), "private_ranges": upstream.private_ranges()})
    });
    own.into_iter().collect()
}

/// A provider on this machine is each region's own. Of another one nobody has said where it answers, so it may be anywhere, and the organizations list its host. The
/// names under `verify.test` are for `verify isolation`.
fn egress(region: &RegionLayout, upstream: &Upstream) -> Vec<Value> {
    let home = home(region);
    let abroad = if home == "eu" { "us" } else { "eu" };
    let provider = json!({"pattern": upstream.host(), "jurisdiction": if upstream.is_local() { home } else { "global" }, "private_ranges": upstream.private_ranges()});
    if upstream.kind != Kind::Simulated {
        return vec![provider];
    }
    let rebinding = json!({"pattern": "*.rebind.verify.test", "jurisdiction": home, "private_ranges": [format!("{}/32", upstream.host())]});
    let names = ["loopback", "private", "link-local", "metadata"];
    let names = names.map(|name| json!({"pattern": format!("{name}.verify.test"), "jurisdiction": home}));
    let abroad = json!({"pattern": "abroad.verify.test", "jurisdiction": abroad});
    let anywhere = json!({"pattern": "anywhere.verify.test", "jurisdiction": "global"});
    [provider, rebinding, abroad, anywhere].into_iter().chain(names).collect()
}

/// Whose law holds in a region.
fn home(region: &RegionLayout) -> &'static str {
    if region.name.starts_with("eu-") { "eu" } else { "us" }
}

fn worker(layout: &Layout, region: &RegionLayout, worker: &WorkerLayout, upstream: &Upstream) -> Value {
    let dir = region.dir.join(&worker.name);
    let mut serve = json!({"listen": worker.serve, "advertise": worker.serve.to_string()});
    if let (Some(plain), Value::Object(serve)) = (worker.plain, &mut serve) {
        serve.insert("plain_listen".to_owned(), json!(plain));
    }
    let own = json!({
        "control_plane": control_plane_address(region, &worker.name),
        "identity": {"dir": path(&identity_dir(region, &worker.name))},
        "serve": serve,
        "journal": {"dir": path(&dir.join("journal"))},
    });
    let own = match upstream.kind {
        // The simulated provider answers for names, too.
        Kind::Simulated => {
            let resolver = json!({"nameservers": [layout.names], "min_ttl_seconds": 0});
            merged(own, json!({"resolver": resolver}))
        }
        Kind::OpenAi | Kind::Compatible => own,
    };
    merged(shared(layout, region, worker.ops), own)
}

fn router(layout: &Layout, region: &RegionLayout) -> Value {
    let own = json!({
        "control_plane": control_plane_address(region, "router"),
        "identity": {"dir": path(&identity_dir(region, "router"))},
        // In a network of namespaces, callers stand beside the regions, and nobody listens in but who made it.
        "serve": {"listen": region.router, "allow_plain": region.place.is_some()},
        "signup": {"enabled": true},
    });
    merged(shared(layout, region, region.router_ops), own)
}

fn control_plane_address(region: &RegionLayout, process: &str) -> Value {
    json!({
        "address": region.worker_api.to_string(),
        "enrollment_address": region.enrollment.to_string(),
        "join_token": {"file": path(&join_token(region, process))},
    })
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
