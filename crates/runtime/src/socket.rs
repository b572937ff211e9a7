//! A TCP connection whose reads and writes are system calls and nothing else.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// Pieces that the system takes at once (`UIO_MAXIOV` of Linux, sendmsg(2)); of more it takes none.
const MOST_PIECES: usize = 1024;

/// A TCP connection. The C library makes of each `recv(2)` and `send(2)` a place where its thread could be cancelled (pthreads(7)), which nobody does: two changes of memory that processors agree on,
/// for each.
///
/// Reads fill room that was never filled with zeros first; all that reads here keeps its room.
#[derive(Debug)]
pub struct Socket(TcpStream);

impl Socket {
    /// The connection.
    pub fn tcp(&self) -> &TcpStream {
        &self.0
    }

    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        mut call: impl FnMut() -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            if let Poll::Ready(sent) = moved(&self.0, Interest::WRITABLE, wanted, &mut call) {
                return Poll::Ready(sent);
            }
        }
    }
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self(stream)
    }
}

/// What a system call moved of the bytes that there was room or wish for. `Pending`: nothing, and the runtime has heard so.
///
/// Less than there was room for is all there is for now (epoll(7), question 9), and the runtime hears that too: it waits for more, and nobody makes a call only to be told.
fn moved(
    stream: &TcpStream,
    interest: Interest,
    wanted: usize,
    call: impl FnOnce() -> rustix::io::Result<usize>,
) -> Poll<io::Result<usize>> {
    let mut some = None;
    let outcome = stream.try_io(interest, || match call()? {
        part @ 1.. if part < wanted => {
            some = Some(part);
            Err(io::ErrorKind::WouldBlock.into())
        }
        all => Ok(all),
    });
    match (outcome, some) {
        (_, Some(part)) => Poll::Ready(Ok(part)),
        (Err(error), None) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        (outcome, None) => Poll::Ready(outcome),
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            let room = buffer.initialize_unfilled();
            let wanted = room.len();
            let read = moved(&self.0, Interest::READABLE, wanted, || {
                recv(&self.0, room, RecvFlags::empty()).map(|(read, _)| read)
            });
            if let Poll::Ready(read) = read {
                buffer.advance(read?);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, bytes.len(), || send(&self.0, bytes, SendFlags::NOSIGNAL))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = pieces {
            return self.poll_write(cx, only);
        }
        let pieces = pieces.get(..MOST_PIECES).unwrap_or(pieces);
        let wanted = pieces.iter().map(|piece| piece.len()).sum();
        let call = || sendmsg(&self.0, pieces, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL);
        self.poll_send(cx, wanted, call)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    async fn pair() -> (Socket, Socket) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (dialled, accepted) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (dialled.unwrap().into(), accepted.unwrap().0.into())
    }

    /// Far more than both ends' systems hold, and nothing in it stands twice where it could be mistaken.
    fn much() -> Vec<u8> {
        (0..4_000_000_u32).flat_map(u32::to_le_bytes).collect()
    }

    #[tokio::test]
    async fn much_goes_through_whole_whoever_is_slower_and_then_its_end() {
        for (read_at_once, pause) in [(100_000, None), (70_001, Some(Duration::from_millis(1)))] {
            let (mut one, mut other) = pair().await;
            let reading = async {
                let (mut came, mut room) = (Vec::new(), vec![0; read_at_once]);
                loop {
                    let read = other.read(&mut room).await.unwrap();
                    if read == 0 {
                        return came;
                    }
                    came.extend_from_slice(&room[..read]);
                    if let Some(pause) = pause {
                        tokio::time::sleep(pause).await;
                    }
                }
            };
            let writing = async {
                one.write_all(&much()).await.unwrap();
                one.shutdown().await.unwrap();
            };
            let both = async { tokio::join!(reading, writing).0 };
            let came = tokio::time::timeout(PATIENCE, both).await.expect("in time");
            assert!(came == much(), "{} bytes came", came.len());
        }
    }

    #[tokio::test]
    async fn what_comes_while_nobody_reads_and_after_a_short_read_is_heard_of() {
        let (mut one, mut other) = pair().await;
        let talk = async {
            let mut room = [0; 64];
            for round in 0..1000_u32 {
                one.write_all(&round.to_le_bytes()).await.unwrap();
                assert_eq!(other.read(&mut room).await.unwrap(), 4);
                other.write_all(&room[..4]).await.unwrap();
                assert_eq!(one.read(&mut room).await.unwrap(), 4);
                assert_eq!(room[..4], round.to_le_bytes());
            }
            drop(one);
            assert_eq!(other.read(&mut room).await.unwrap(), 0);
        };
        tokio::time::timeout(PATIENCE, talk).await.expect("in time");
    }

    #[tokio::test]
    async fn more_pieces_than_the_system_takes_go_out_in_several_writes() {
        let (mut one, mut other) = pair().await;
        let all: Vec<u8> = (0..=250).cycle().take(MOST_PIECES + 500).collect();
        let mut pieces: Vec<IoSlice<'_>> = all.chunks(1).map(IoSlice::new).collect();
        let mut left = &mut pieces[..];
        while !left.is_empty() {
            let written = one.write_vectored(left).await.unwrap();
            assert!(written > 0);
            IoSlice::advance_slices(&mut left, written);
        }
        let mut came = vec![0; all.len()];
        tokio::time::timeout(PATIENCE, other.read_exact(&mut came)).await.expect("in time").unwrap();
        assert_eq!(came, all);
    }

    #[tokio::test]
    async fn whoever_has_left_is_an_error() {
        let (mut one, other) = pair().await;
        other.tcp().set_zero_linger().unwrap();
        drop(other);
        let mut room = [0; 1];
        assert_eq!(one.read(&mut room).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(one.write(&room).await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
