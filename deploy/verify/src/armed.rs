//! A region with what this run has made in it: the material of its attacks, and what there is to be attacked.
//!
//! Everything is made over the region's own APIs, by its own operator, and removed again by [`Armed::disarm`].

mod account;
mod backup;
mod process;
pub(crate) mod program;
mod remains;
pub(crate) mod untimely;

use bailiwick_domain::{
    jurisdiction::Jurisdiction,
    law::LegalJurisdiction,
    region::{Region, RegionCode},
    spiffe::{ProcessRole, TrustDomain},
};
use bailiwick_proto::admin::v1::{
    GetRegionRequest, GetRegionResponse, ListWorkersRequest, Worker,
    region_service_client::RegionServiceClient,
};
use bailiwick_runtime::{
    grpc,
    identity::{Connector, Identity},
};
use secrecy::{ExposeSecret as _, SecretString};
use tonic::{Request, Status, transport::Channel};

use crate::{
    access::Access,
    badge::Badge,
    web::{self, Ask},
};

pub(crate) use account::{Account, name as organization};
pub(crate) use backup::Backup;
pub(crate) use process::{Process, pinned};
use program::Program;
use untimely::{Time, Untimely};

/// How long one request of the preparation may take.
pub(crate) const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

/// So many calls in a row have to be served with a new key.
const KNOWN: usize = 8;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// A region, ready to attack and to be attacked.
pub(crate) struct Armed {
    pub(crate) access: Access,
    /// The name of this run: everything that it makes in the region carries it.
    pub(crate) run: String,
    pub(crate) code: RegionCode,
    pub(crate) domain: TrustDomain,
    /// Makes identifiers that are this region's by their form.
    pub(crate) jurisdiction: Jurisdiction,
    /// Its operator.
    pub(crate) operator: Identity,
    pub(crate) operator_badge: Badge,
    /// To its admin API, as its operator.
    pub(crate) admin: Channel,
    /// What it says of itself.
    pub(crate) about: GetRegionResponse,
    /// SHA-256 of the certificate that its control plane presents.
    pub(crate) control_plane_fingerprint: [u8; 32],
    /// SHA-256 of the certificate that its router presents to callers, where it serves TLS.
    pub(crate) public_fingerprint: Option<[u8; 32]>,
    /// Its workers and routers, before this run joined any.
    pub(crate) fleet: Vec<Worker>,
    pub(crate) account: Account,
    /// Whose law holds in it, as it says itself.
    pub(crate) law: String,
    /// A token that would let a worker join at home.
    pub(crate) join_token: SecretString,
    /// A worker and a router that joined for this run; or why there are none.
    pub(crate) worker: Result<Process, String>,
    pub(crate) router: Result<Process, String>,
    /// Made when it is wanted first, once for all targets.
    backup: tokio::sync::OnceCell<Result<Backup, String>>,
    /// The same: certificates that have expired, and certificates that are not valid yet.
    expired: tokio::sync::OnceCell<Result<Untimely, String>>,
    not_yet: tokio::sync::OnceCell<Result<Untimely, String>>,
    /// A service account of its organization, and its token; or why there is none.
    pub(crate) program: Result<Program, String>,
}

impl Armed {
    /// Prepares a region. What was made is removed again when it fails half-way.
    pub(crate) async fn arm(access: Access, run: &str) -> Result<Self, String> {
        let domain = TrustDomain::new(access.region.clone(), &access.installation)
            .map_err(|error| error.to_string())?;
        let operator =
            Identity::load_dir(&access.identity, domain.clone()).map_err(|error| with_cause(&error))?;
        let operator_badge = Badge::load(&access.identity)?;
        let connector =
            Connector::new(operator.clone(), ProcessRole::ControlPlane).map_err(|error| error.to_string())?;
        let admin = grpc::channel(&access.admin, &connector).map_err(|error| error.to_string())?;
        let control_plane_fingerprint = fingerprint(&access.admin, &connector).await?;
        let public_fingerprint = match access.router.as_deref() {
            Some(router) => web::fingerprint(router).await?,
            None => None,
        };
        let mut region = RegionServiceClient::new(admin.clone());
        let about = region.get_region(request(GetRegionRequest {})).await.map_err(|status| say(&status))?;
        let about = about.into_inner();
        if about.name != access.region.as_str() || about.installation != access.installation {
            return Err(format!("{} is {}.{}", access.admin, about.name, about.installation));
        }
        let code: RegionCode = about.code.parse().map_err(|_| "it has no short form".to_owned())?;
        let workers = region.list_workers(request(ListWorkersRequest::default())).await;
        let fleet = workers.map_err(|status| say(&status))?.into_inner().workers;
        let region = Region {
            name: access.region.clone(),
            code,
            jurisdiction: LegalJurisdiction::global(),
            endpoint: None,
        };
        let jurisdiction = Jurisdiction::of(&region);
        let account = Account::open(&admin, access.region.as_str(), run).await?;
        let law = account.law(&admin).await?;
        let mut armed = Self {
            law,
            worker: Err("it has not joined".to_owned()),
            router: Err("it has not joined".to_owned()),
            program: Err("there is none".to_owned()),
            join_token: SecretString::default(),
            run: run.to_owned(),
            backup: tokio::sync::OnceCell::new(),
            expired: tokio::sync::OnceCell::new(),
            not_yet: tokio::sync::OnceCell::new(),
            access,
            code,
            domain,
            jurisdiction,
            operator,
            operator_badge,
            admin,
            about,
            control_plane_fingerprint,
            public_fingerprint,
            fleet,
            account,
        };
        match armed.join(run).await {
            Ok(()) => Ok(armed),
            Err(problem) => {
                armed.disarm(false).await;
                Err(problem)
            }
        }
    }

    async fn join(&mut self, run: &str) -> Result<(), String> {
        // It ends by itself; nobody can use it but who has it.
        self.join_token =
            process::join_token(&self.admin, ProcessRole::Worker, &format!("{run}-unused")).await?;
        self.worker = Process::join(self, ProcessRole::Worker, run).await?;
        self.router = Process::join(self, ProcessRole::Router, run).await?;
        self.program = Program::create(self).await?;
        self.key_is_known().await
    }

    /// Workers hear of a new key within milliseconds; attacks that present it at home must not come first.
    async fn key_is_known(&self) -> Result<(), String> {
        let Some(router) = &self.access.router else { return Ok(()) };
        let ask = Ask::get("/v1/models").bearer(self.account.key.expose_secret());
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        // Several times: each worker has to know it, and the router chooses among them.
        let mut known = 0;
        while known < KNOWN {
            let answer = web::ask(router, &ask).await?;
            known = if answer.status.is_success() { known + 1 } else { 0 };
            if tokio::time::Instant::now() > deadline {
                return Err(format!("its router does not serve a new key: {answer}"));
            }
            if known == 0 {
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// A backup of the region.
    pub(crate) async fn backup(&self) -> Result<&Backup, String> {
        self.backup.get_or_init(|| Backup::make(&self.admin)).await.as_ref().map_err(Clone::clone)
    }

    /// Certificates of the region that are not good now.
    pub(crate) async fn untimely(&self, time: Time) -> Result<&Untimely, String> {
        let made = match time {
            Time::Over => &self.expired,
            Time::ToCome => &self.not_yet,
        };
        made.get_or_init(|| Untimely::make(self, time)).await.as_ref().map_err(Clone::clone)
    }

    /// Removes what was made. Says what could not be removed. `something_got_in`: looks for what an attack may have made, too.
    pub(crate) async fn disarm(&self, something_got_in: bool) -> Vec<String> {
        let mut left = Vec::new();
        let at = |problem: String| format!("{}: {problem}", self.access.region);
        for process in [&self.worker, &self.router].into_iter().flatten() {
            left.extend(process.remove(&self.admin).await.map_err(at).err());
        }
        left.extend(self.account.remove(&self.admin).await.map_err(at).err());
        if something_got_in {
            left.extend(remains::remove(&self.admin, &self.run).await.map_err(at).err());
        }
        left
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.access.region.as_str()
    }

    /// An identifier of the kind that starts with `prefix`, e.g. `org`: one that exists where there is one, else one of the right form.
    pub(crate) fn identifier(&self, prefix: &str) -> String {
        let known = match prefix {
            "org" => Some(&self.account.organization),
            "key" => Some(&self.account.key_id),
            "cred" => Some(&self.account.credential),
            "dep" => self.account.deployment.as_ref(),
            "mdl" => self.account.model.as_ref(),
            "wrk" => self.worker.as_ref().ok().map(|process| &process.id),
            _ => None,
        };
        known.cloned().unwrap_or_else(|| self.minted(prefix))
    }

    /// A new identifier of this region that nothing has.
    pub(crate) fn minted(&self, prefix: &str) -> String {
        use bailiwick_domain::{
            id::Organization,
            key::{ApiKey, ServiceSecret},
            time::{Clock as _, SystemClock},
        };
        if prefix == "key" {
            return ApiKey::generate(self.code).key_id().to_string();
        }
        if prefix == "svc" {
            return ServiceSecret::generate(self.code).account().to_string();
        }
        let id = self.jurisdiction.mint_random::<Organization>(SystemClock.now()).to_string();
        // All other identifiers differ in their first word alone.
        id.replacen("org_", &format!("{prefix}_"), 1)
    }
}

/// Of whoever answers there as a process of the region.
async fn fingerprint(address: &str, connector: &Connector) -> Result<[u8; 32], String> {
    let mut found = tokio::net::lookup_host(address).await.map_err(|error| error.to_string())?;
    let socket = found.next().ok_or_else(|| format!("{address} resolves to no address"))?;
    let stream = connector.connect(socket).await.map_err(|error| format!("{address}: {error}"))?;
    Ok(stream.peer().fingerprint)
}

/// A request that does not wait for ever.
pub(crate) fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(TIMEOUT);
    request
}

/// A key for one thing that is created.
pub(crate) fn once() -> String {
    format!("verify-{:032x}", rand::random::<u128>())
}

/// A status for people.
pub(crate) fn say(status: &Status) -> String {
    let reason = bailiwick_proto::status::reason_of(status);
    match (reason, innermost(status)) {
        (Some(reason), _) => format!("{:?} {reason}", status.code()),
        (None, Some(cause)) => cause,
        (None, None) => format!("{:?}: {}", status.code(), status.message()),
    }
}

/// "connection refused" rather than "transport error".
fn innermost(status: &Status) -> Option<String> {
    let mut cause = std::error::Error::source(status)?;
    while let Some(next) = cause.source() {
        cause = next;
    }
    Some(cause.to_string())
}

fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
