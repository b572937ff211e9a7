//! Listeners that several cores share.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel keeps until a core accepts them.
const BACKLOG: i32 = 4096;

/// One listener per core on the same address. With port 0 the system chooses a port for the first, and the others share it.
pub(super) fn bind_per_core(address: SocketAddr, cores: usize) -> io::Result<Vec<TcpListener>> {
    refuse_taken(address)?;
    let first = bind(address)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _core in 1..cores {
        listeners.push(bind(address)?);
    }
    Ok(listeners)
}

/// Without this, a second process on the same address would silently get a share of the first one's callers.
fn refuse_taken(address: SocketAddr) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    let probe = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    probe.set_reuse_address(true)?;
    probe.bind(&address.into())
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // Inherited by what is accepted, on Linux; elsewhere it is set once more there.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
