//! Names become addresses: a cache with bounds, one question at a time for each name, and no thread that waits.
//!
//! Questions are asked on the runtime that made the resolver, so that a core which serves calls neither sends nor reads them; it waits for the
//! answer like for any other input. What is cached are answers, never verdicts on them.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use hickory_resolver::{
    TokioResolver,
    config::{
        ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
    },
    net::runtime::TokioRuntimeProvider,
};
use tokio::{runtime::Handle, time::timeout};

use crate::configuration::ResolverSection;

/// Answers that are kept.
const CACHED_ANSWERS: u64 = 4096;
/// Names that are asked for at once.
const MOST_QUESTIONS: usize = 1024;
/// Times that a question is asked again.
const RETRIES: usize = 2;
/// That a name has no address is believed for so long.
const LONGEST_NEGATIVE: Duration = Duration::from_secs(10);

type Answer = Result<Arc<[IpAddr]>, ResolveError>;
type Question = Shared<BoxFuture<'static, Answer>>;

/// Resolves names. Clones share everything.
#[derive(Clone)]
pub struct Resolver(Arc<Inner>);

struct Inner {
    names: TokioResolver,
    runtime: Handle,
    /// How long a question may take, repetitions included.
    bound: Duration,
    /// What is being asked.
    open: Mutex<HashMap<Box<str>, Question>>,
}

/// Why a name has no address now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The name servers said so, or failed.
    #[error("the name has no address: {0}")]
    NoAddress(Arc<str>),
    /// No name server answered in time.
    #[error("the name servers did not answer in time")]
    Late,
    /// Too many names are being asked for.
    #[error("too many names are being resolved")]
    Busy,
    /// The process ends.
    #[error("names are not resolved any more")]
    Ended,
}

/// Why there is no resolver.
#[derive(Debug, thiserror::Error)]
#[error("names cannot be resolved: {0}")]
pub struct ResolverError(String);

impl Resolver {
    /// From within the runtime that shall ask. Without name servers in the settings, those of the system (`/etc/resolv.conf`, read once).
    ///
    /// # Errors
    /// The library does not start.
    pub fn new(settings: &ResolverSection) -> Result<Self, ResolverError> {
        let (config, defaults) = match settings.nameservers.as_slice() {
            [] => system(),
            servers => (of_servers(servers.iter().copied()), ResolverOpts::default()),
        };
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options(settings, defaults);
        let names = builder.build().map_err(|error| ResolverError(error.to_string()))?;
        let bound = settings.timeout.saturating_mul(u32::try_from(RETRIES).unwrap_or_default() + 2);
        Ok(Self(Arc::new(Inner { names, runtime: Handle::current(), bound, open: Mutex::default() })))
    }

    /// All addresses of a name, in the order of the answer. Whoever asks for a name that is being asked for shares its answer.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub async fn resolve(&self, name: &str) -> Answer {
        let question = {
            let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
            match open.get(name) {
                Some(question) => question.clone(),
                None if open.len() >= MOST_QUESTIONS => return Err(ResolveError::Busy),
                None => {
                    let question = self.ask(name);
                    open.insert(name.into(), question.clone());
                    question
                }
            }
        };
        question.await
    }

    /// Goes on when nobody waits any more: the answer is worth keeping. It takes itself from the open questions when it is answered, so that
    /// nobody gets an answer of before.
    fn ask(&self, name: &str) -> Question {
        let (inner, name) = (Arc::clone(&self.0), Box::<str>::from(name));
        let asked = self.0.runtime.spawn(async move {
            let answer = timeout(inner.bound, inner.look_up(&name)).await.unwrap_or(Err(ResolveError::Late));
            inner.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
            answer
        });
        asked.map(|ended| ended.unwrap_or(Err(ResolveError::Ended))).boxed().shared()
    }
}

impl Inner {
    async fn look_up(&self, name: &str) -> Answer {
        // A name with a dot is whole: the system's search list would lead elsewhere. Others, such as localhost, are this machine's own.
        let name = match name.trim_end_matches('.') {
            whole if whole.contains('.') => format!("{whole}."),
            short => short.to_owned(),
        };
        let found = self.names.lookup_ip(name).await;
        let found = found.map_err(|error| ResolveError::NoAddress(error.to_string().into()))?;
        Ok(found.iter().collect())
    }
}

/// As the C library has it: its default is a name server on this machine.
fn system() -> (ResolverConfig, ResolverOpts) {
    hickory_resolver::system_conf::read_system_conf().unwrap_or_else(|error| {
        tracing::warn!(%error, "the system names no name server; asking this machine");
        (of_servers([SocketAddr::from((Ipv4Addr::LOCALHOST, 53))]), ResolverOpts::default())
    })
}

fn of_servers(servers: impl IntoIterator<Item = SocketAddr>) -> ResolverConfig {
    let at = |address: SocketAddr| {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = address.port();
            connection
        });
        NameServerConfig::new(address.ip(), true, connections.into())
    };
    ResolverConfig::from_parts(None, Vec::new(), servers.into_iter().map(at).collect())
}

fn options(settings: &ResolverSection, mut options: ResolverOpts) -> ResolverOpts {
    options.timeout = settings.timeout;
    options.attempts = RETRIES;
    options.cache_size = CACHED_ANSWERS;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Always;
    options.positive_min_ttl = Some(settings.min_ttl);
    options.positive_max_ttl = Some(settings.max_ttl);
    options.negative_min_ttl = Some(settings.min_ttl.min(LONGEST_NEGATIVE));
    options.negative_max_ttl = Some(settings.max_ttl.min(LONGEST_NEGATIVE));
    options
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}
