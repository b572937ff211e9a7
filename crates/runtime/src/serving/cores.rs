//! The cores: a thread, a runtime, listeners and a service each.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::connection::{self, Entrance};
use super::registry::{Registry, SWEEP_INTERVAL};
use super::{CoreContext, HttpLimits, Listen, Service, Transport, listen};
use crate::drain::Watch;
use crate::http1::stock::Stock;

/// How long to wait when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Steps that a core takes before it looks for what else has come, where so many are ready. A call has a dozen, so the runtime's own 61 would have it look after every few calls, with a system call,
/// and bring new ones among those that are carried on together ([`crate::turn`]). At a few microseconds a step, what comes waits for a millisecond; were all of them handshakes, which may take half a
/// millisecond each, for an eighth of a second.
const STEPS_TOGETHER: u32 = 256;

/// Why serving cannot begin, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServingError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A thread or its runtime cannot be started.
    #[error("cannot start a core")]
    Start(#[from] io::Error),
    /// A core's thread ended without being told to.
    #[error("a core crashed")]
    Crashed,
}

/// Cores that serve.
#[derive(Debug)]
pub struct Serving {
    addresses: Vec<SocketAddr>,
    cores: usize,
    ended: mpsc::UnboundedReceiver<Ended>,
    cut_off: CancellationToken,
}

/// Serves `listeners` on `cores` threads (0: one per processor), each with a service of its own, until `drain` signals: then no more
/// connections are accepted, what is under way is finished, and idle connections are closed. Every core holds a clone of `drain` until it is
/// done.
///
/// All listeners are open when this returns. Run [`Serving::run`] as a task: it ends when all cores have.
///
/// # Errors
/// An address is taken (also by another process that would share it) or not this machine's, or a thread cannot be started.
pub fn serve_per_core<S: Service>(
    listeners: Vec<Listen>,
    cores: usize,
    limits: HttpLimits,
    drain: Watch,
    make_service: impl Fn(CoreContext) -> S + Send + Sync + 'static,
) -> Result<Serving, ServingError> {
    let cores = if cores == 0 { thread::available_parallelism().map_or(1, usize::from) } else { cores };
    let (addresses, mut per_core) = bind(&listeners, cores)?;
    let make_service = Arc::new(make_service);
    let (ending, ended) = mpsc::unbounded_channel();
    let cut_off = CancellationToken::new();
    for (index, doors) in per_core.drain(..).enumerate() {
        let core = Core {
            context: CoreContext { index, cores, drain: drain.clone() },
            doors,
            limits,
            cut_off: cut_off.clone(),
        };
        let (make_service, ending) = (Arc::clone(&make_service), ending.clone());
        start(index, move || core.run(&*make_service), ending)?;
    }
    Ok(Serving { addresses, cores, ended, cut_off })
}

impl Serving {
    /// Where it listens, in the order of the listeners; with the ports that the system chose.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Ends when all cores have finished, or, once `stopped` resolves, cuts off what is still under way.
    ///
    /// # Errors
    /// A core crashed.
    pub async fn run(mut self, stopped: impl Future<Output = ()>) -> Result<(), ServingError> {
        let mut stopped = std::pin::pin!(stopped);
        let mut left = self.cores;
        while left > 0 {
            tokio::select! {
                ended = self.ended.recv() => match ended {
                    Some(Ended::InOrder) => left -= 1,
                    Some(Ended::Crashed) | None => return Err(ServingError::Crashed),
                },
                () = &mut stopped, if !self.cut_off.is_cancelled() => self.cut_off.cancel(),
            }
        }
        Ok(())
    }
}

/// A core that nobody owns any more serves nobody.
impl Drop for Serving {
    fn drop(&mut self) {
        self.cut_off.cancel();
    }
}

/// A listener of one core.
struct Door {
    listener: StdListener,
    entrance: Entrance,
}

fn bind(listeners: &[Listen], cores: usize) -> Result<(Vec<SocketAddr>, Vec<Vec<Door>>), ServingError> {
    let mut addresses = Vec::with_capacity(listeners.len());
    let mut per_core: Vec<Vec<Door>> = std::iter::repeat_with(Vec::new).take(cores).collect();
    for Listen { address, transport, preface_from } in listeners {
        let failed = |source| ServingError::Listen { address: *address, source };
        let bound = listen::bind_per_core(*address, cores).map_err(failed)?;
        addresses.push(bound.first().map_or(Ok(*address), StdListener::local_addr).map_err(failed)?);
        let transport = match transport {
            // Callers that offer HTTP/2 as well get HTTP/1.1.
            Transport::Mutual(acceptor) => Transport::Mutual(acceptor.speaking(b"http/1.1")),
            other => other.clone(),
        };
        for (doors, listener) in per_core.iter_mut().zip(bound) {
            let entrance = Entrance { transport: transport.clone(), preface_from: preface_from.clone() };
            doors.push(Door { listener, entrance });
        }
    }
    Ok((addresses, per_core))
}

/// Starts a core's thread; [`Serving::run`] learns of its end.
fn start(
    index: usize,
    run: impl FnOnce() -> io::Result<()> + Send + 'static,
    told: mpsc::UnboundedSender<Ended>,
) -> io::Result<()> {
    let ending = Ending { told, how: Ended::Crashed };
    let _told_when_it_ends =
        thread::Builder::new().name(format!("core-{index}")).spawn(move || run_to_end(index, run, ending))?;
    Ok(())
}

fn run_to_end(index: usize, run: impl FnOnce() -> io::Result<()>, mut ending: Ending) {
    match run() {
        Ok(()) => ending.how = Ended::InOrder,
        Err(error) => tracing::error!(core = index, %error, "a core cannot run"),
    }
}

/// How a core ended.
#[derive(Debug, Clone, Copy)]
enum Ended {
    InOrder,
    Crashed,
}

/// Tells how a core ended, also when it panicked.
struct Ending {
    told: mpsc::UnboundedSender<Ended>,
    how: Ended,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let _nobody_waits = self.told.send(self.how);
    }
}

struct Core {
    context: CoreContext,
    doors: Vec<Door>,
    limits: HttpLimits,
    cut_off: CancellationToken,
}

impl Core {
    /// A core's life, on its thread.
    fn run<S: Service>(self, make_service: &impl Fn(CoreContext) -> S) -> io::Result<()> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .event_interval(STEPS_TOGETHER)
            .build_local(LocalOptions::default())?;
        runtime.block_on(async {
            let service = Rc::new(make_service(self.context.clone()));
            let (drain, cut_off) = (self.context.drain.clone(), self.cut_off.clone());
            tokio::select! {
                served = self.serve(service, drain) => served,
                () = cut_off.cancelled() => Ok(()),
            }
        })
    }

    async fn serve<S: Service>(self, service: Rc<S>, drain: Watch) -> io::Result<()> {
        let registry = Registry::new(self.limits);
        let stock = Stock::of_this_core();
        let mut doors = JoinSet::new();
        for Door { listener, entrance } in self.doors {
            let open = OpenDoor {
                listener: TcpListener::from_std(listener)?,
                hall: Hall {
                    entrance,
                    stock: Rc::clone(&stock),
                    service: Rc::clone(&service),
                    registry: Rc::clone(&registry),
                    connections: JoinSet::new(),
                },
            };
            doors.spawn_local(open.serve(drain.clone()));
        }
        let mut sweep = interval(SWEEP_INTERVAL);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _tick = sweep.tick() => registry.sweep(),
                ended = doors.join_next() => match ended {
                    Some(Ok(())) => {}
                    Some(Err(_panicked)) => return Err(io::Error::other("a listener's task panicked")),
                    None => return Ok(()),
                },
            }
        }
    }
}

/// A listener inside its core's runtime.
struct OpenDoor<S> {
    listener: TcpListener,
    hall: Hall<S>,
}

/// Where a listener's connections go.
struct Hall<S> {
    entrance: Entrance,
    stock: Rc<Stock>,
    service: Rc<S>,
    registry: Rc<Registry>,
    connections: JoinSet<()>,
}

impl<S: Service> Hall<S> {
    fn admit(&mut self, (stream, remote): (TcpStream, SocketAddr)) {
        #[cfg(not(target_os = "linux"))]
        let _unimportant = stream.set_nodelay(true);
        self.connections.spawn_local(connection::serve(
            stream,
            remote,
            self.entrance.clone(),
            Rc::clone(&self.stock),
            Rc::clone(&self.service),
            self.registry.open(),
        ));
    }
}

impl<S: Service> OpenDoor<S> {
    /// Accepts until the drain, then waits for the connections that it accepted.
    async fn serve(self, drain: Watch) {
        let Self { listener, mut hall } = self;
        let mut waiting = None;
        let mut signalled = std::pin::pin!(drain.signalled());
        loop {
            tokio::select! {
                accepted = accept(&listener), if waiting.is_none() => match accepted {
                    Some(caller) if hall.registry.has_room() => hall.admit(caller),
                    accepted => waiting = accepted,
                },
                () = hall.registry.room(), if waiting.is_some() => waiting.take().into_iter().for_each(|caller| hall.admit(caller)),
                Some(_ended) = hall.connections.join_next() => {}
                () = &mut signalled => break,
            }
        }
        hall.registry.finish_all();
        waiting.into_iter().chain(queued(listener)).for_each(|caller| hall.admit(caller));
        while hall.connections.join_next().await.is_some() {}
    }
}

async fn accept(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    match listener.accept().await {
        Ok(accepted) => Some(accepted),
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Closes a listener. Callers that the kernel has connected already would see a reset; they get an answer instead.
fn queued(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    // Asked directly: the runtime may not have heard of the last ones yet.
    let Ok(listener) = listener.into_std() else { return Vec::new() };
    std::iter::from_fn(|| listener.accept().ok())
        .filter_map(|(stream, remote)| {
            stream.set_nonblocking(true).ok()?;
            Some((TcpStream::from_std(stream).ok()?, remote))
        })
        .collect()
}
