//! Our end of a guest's channel, as the runtime waits for it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::sys;

/// Our end of a guest's channel. Whoever uses it does not block (`MSG_DONTWAIT`).
///
/// Most of what is sent has room, and then nobody waits for any: the runtime would wake us whenever the guest has read something. So it is
/// told to look for room only once there was none.
#[derive(Debug)]
pub(super) struct Socket {
    incoming: AsyncFd<OwnedFd>,
    /// The same socket, once something had to wait for room.
    outgoing: OnceLock<AsyncFd<OwnedFd>>,
    /// Nobody has read everything yet: there may be something that the runtime has not noticed.
    is_fresh: AtomicBool,
}

impl Socket {
    /// Registers it with the runtime. If that fails, the socket is closed.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        let incoming = sys::watch(socket, Interest::READABLE)?;
        Ok(Self { incoming, outgoing: OnceLock::new(), is_fresh: AtomicBool::new(true) })
    }

    /// Receives once there is something.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn receive<T>(
        &self,
        mut receive: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        if self.is_fresh.load(Ordering::Relaxed) {
            tokio::task::consume_budget().await;
            match receive() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_fresh.store(false, Ordering::Relaxed);
                }
                received => return received,
            }
        }
        self.incoming.async_io(Interest::READABLE, |_| receive()).await
    }

    /// Sends once there is room.
    ///
    /// # Cancel safety
    /// Dropping the future sends nothing, unless `send` was called.
    pub(super) async fn send<T>(&self, mut send: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        // Where there is always room, others have to have their turn as well.
        tokio::task::consume_budget().await;
        match send() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return sent,
        }
        self.outgoing()?.async_io(Interest::WRITABLE, |_| send()).await
    }

    fn outgoing(&self) -> io::Result<&AsyncFd<OwnedFd>> {
        if let Some(outgoing) = self.outgoing.get() {
            return Ok(outgoing);
        }
        // A descriptor can be registered but once.
        let socket = rustix::io::fcntl_dupfd_cloexec(&self.incoming, 3)?;
        let outgoing = sys::watch(socket, Interest::WRITABLE)?;
        Ok(self.outgoing.get_or_init(|| outgoing))
    }

    /// The socket, which the runtime does not know any more.
    pub(super) fn into_inner(self) -> OwnedFd {
        self.incoming.into_inner()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.incoming.get_ref().as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::net::{RecvFlags, SendFlags};

    use super::*;

    const PIECE: [u8; 4096] = [7; 4096];

    fn pair() -> (Socket, OwnedFd) {
        let (ours, theirs) = super::super::sandbox::channel().unwrap();
        (Socket::new(ours).unwrap(), theirs)
    }

    async fn send(socket: &Socket) -> usize {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        socket.send(|| Ok(rustix::net::send(socket, &PIECE, flags)?)).await.unwrap()
    }

    #[tokio::test]
    async fn what_came_before_it_was_registered_is_received_and_so_is_what_comes_later() {
        let (socket, theirs) = pair();
        let receive = async |socket: &Socket| {
            let mut buffer = [0; 8];
            let received = socket
                .receive(|| Ok(rustix::net::recv(socket, &mut buffer, RecvFlags::DONTWAIT)?.0));
            let count = received.await.unwrap();
            buffer.get(..count).unwrap().to_vec()
        };
        rustix::io::write(&theirs, b"before").unwrap();
        assert_eq!(receive(&socket).await, b"before");
        let later = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            rustix::io::write(&theirs, b"later").unwrap();
        };
        assert_eq!(tokio::join!(receive(&socket), later).0, b"later");
        drop(theirs);
        assert_eq!(receive(&socket).await, b"");
    }

    #[tokio::test]
    async fn who_finds_no_room_waits_for_it_and_only_then_is_it_looked_for() {
        let (socket, theirs) = pair();
        let mut sent = send(&socket).await;
        assert!(socket.outgoing.get().is_none());
        let waiting = async {
            while socket.outgoing.get().is_none() {
                sent += send(&socket).await;
            }
        };
        let drained = async {
            // Until nobody has room, which is when the sender gives its turn up.
            while socket.outgoing.get().is_none() {
                tokio::task::yield_now().await;
            }
            let mut buffer = vec![0; 1 << 20];
            rustix::net::recv(&theirs, &mut *buffer, RecvFlags::DONTWAIT).unwrap()
        };
        let both = async { tokio::join!(waiting, drained) };
        tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
        assert!(sent > PIECE.len());
    }
}
