//! The host's end of a guest's socket, registered with the runtime.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crucible_core::EngineError;
use crucible_guest_client::errors::setup;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::linux::sys;

/// Creates a guest's socket. Returns the host's end and the guest's end.
pub(crate) fn socket_pair() -> Result<(OwnedFd, OwnedFd), EngineError> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|error| setup("create the guest's socket", error))
}

/// The host's end of a guest's socket. All operations on it are non-blocking (`MSG_DONTWAIT`).
///
/// Most sends find room immediately. If the runtime watched for room, it would wake the task
/// whenever the guest has read something. So the socket is registered for writing only after a send
/// found no room.
#[derive(Debug)]
pub(crate) struct GuestSocket {
    incoming: AsyncFd<OwnedFd>,
    /// A duplicate of the socket, once a send had to wait for room.
    outgoing: OnceLock<AsyncFd<OwnedFd>>,
    /// `true` until a receive found nothing. Until then, bytes may have arrived before the runtime
    /// watched the socket.
    is_fresh: AtomicBool,
}

impl GuestSocket {
    /// Registers the socket with the runtime, and closes it on failure.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        let incoming = sys::watch(socket, Interest::READABLE)?;
        Ok(Self { incoming, outgoing: OnceLock::new(), is_fresh: AtomicBool::new(true) })
    }

    /// Calls `receive` when the socket is readable.
    ///
    /// # Cancel safety
    /// Dropping the future loses no byte.
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

    /// Calls `send` when the socket has room.
    ///
    /// # Cancel safety
    /// Dropping the future sends nothing, unless `send` was called.
    pub(super) async fn send<T>(&self, mut send: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        // A task that always finds room must yield to others.
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
        // A descriptor can be registered only once.
        let socket = rustix::io::fcntl_dupfd_cloexec(&self.incoming, 3)?;
        let outgoing = sys::watch(socket, Interest::WRITABLE)?;
        Ok(self.outgoing.get_or_init(|| outgoing))
    }

    /// Deregisters the socket and returns it.
    pub(crate) fn into_inner(self) -> OwnedFd {
        self.incoming.into_inner()
    }
}

impl AsFd for GuestSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.incoming.get_ref().as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::net::{RecvFlags, SendFlags};

    use super::*;

    const CHUNK: [u8; 4096] = [7; 4096];

    fn pair() -> (GuestSocket, OwnedFd) {
        let (ours, theirs) = socket_pair().unwrap();
        (GuestSocket::new(ours).unwrap(), theirs)
    }

    async fn send(socket: &GuestSocket) -> usize {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        socket.send(|| Ok(rustix::net::send(socket, &CHUNK, flags)?)).await.unwrap()
    }

    #[tokio::test]
    async fn receive_gets_bytes_from_before_registration() {
        let (socket, theirs) = pair();
        let receive = async |socket: &GuestSocket| {
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
    async fn send_watches_for_room_only_when_the_socket_is_full() {
        let (socket, theirs) = pair();
        let mut sent = send(&socket).await;
        assert!(socket.outgoing.get().is_none());
        let fill = async {
            while socket.outgoing.get().is_none() {
                sent += send(&socket).await;
            }
        };
        let drain = async {
            // The sender yields once the socket is full.
            while socket.outgoing.get().is_none() {
                tokio::task::yield_now().await;
            }
            let mut buffer = vec![0; 1 << 20];
            rustix::net::recv(&theirs, &mut *buffer, RecvFlags::DONTWAIT).unwrap()
        };
        let both = async { tokio::join!(fill, drain) };
        tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
        assert!(sent > CHUNK.len());
    }
}
