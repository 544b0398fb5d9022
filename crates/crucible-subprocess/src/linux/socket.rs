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
    pub(super) async fn receive<T>(&self, mut receive: impl FnMut() -> io::Result<T>) -> io::Result<T> {
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
