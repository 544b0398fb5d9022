//! The socket to the spawner: one packet per message, with descriptors.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use crucible_core::EngineError;
use crucible_guest::protocol::{Overflow, PacketKind, WireWriter};
use crucible_guest_client::errors::{protocol, setup};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sockopt,
};

/// The maximum number of descriptors with one packet: the guest's socket, a namespace, cgroups.
const FDS_MAX: usize = 8;

/// The host's end of the socket.
#[derive(Debug)]
pub(super) struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Creates a socket with a timeout on each operation. Returns the spawner's end too.
    pub(super) fn pair(timeout: Duration) -> Result<(Self, OwnedFd), EngineError> {
        let (socket, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|error| setup("create the spawner's socket", error))?;
        for direction in [sockopt::Timeout::Recv, sockopt::Timeout::Send] {
            sockopt::set_socket_timeout(&socket, direction, Some(timeout))
                .map_err(|error| setup("set a timeout on the spawner's socket", error))?;
        }
        Ok((Self(socket), theirs))
    }

    /// Sends a packet with descriptors.
    pub(super) fn send(
        &self,
        packet: &[u8],
        fds: &[BorrowedFd<'_>],
        flags: SendFlags,
    ) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(Errno::INVAL);
        }
        rustix::io::retry_on_intr(|| {
            rustix::net::sendmsg(self.0.as_fd(), &[IoSlice::new(packet)], &mut control, flags)
        })
        .map(drop)
    }

    /// Receives a packet. Returns its length and its descriptors.
    pub(super) fn receive(&self, packet: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = rustix::io::retry_on_intr(|| {
            let buffer = &mut [IoSliceMut::new(packet)];
            rustix::net::recvmsg(self.0.as_fd(), buffer, &mut control, flags)
        })?;
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        Ok((received.bytes, fds))
    }

    /// Closes the connection in both directions, which ends the spawner.
    pub(super) fn shut_down(&self) -> Result<(), Errno> {
        rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both)
    }
}

/// Encodes a packet into a buffer, and returns its length.
pub(super) fn encode_packet(
    packet: &mut [u8],
    kind: PacketKind,
    write: impl FnOnce(&mut WireWriter<'_>) -> Result<(), Overflow>,
) -> Result<usize, EngineError> {
    let mut writer = WireWriter::new(packet);
    let written = writer.u8(kind as u8).and_then(|()| write(&mut writer));
    match written {
        Ok(()) => Ok(writer.len()),
        Err(_) => Err(protocol("a packet is too long", false)),
    }
}
