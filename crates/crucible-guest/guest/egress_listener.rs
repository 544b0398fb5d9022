//! The egress of a sandbox with an allow-list: a listening socket on its loopback, from which the
//! host accepts connections.
//!
//! The network namespace has no interface except the loopback, so that no packet can leave it. Only
//! the bytes that the host's proxy forwards get out.

use super::host_channel::HostChannel;
use super::sys::{self, Result};
use crate::protocol::FrameKind;

/// The number of connections that wait until the host accepts them. The kernel delays further ones.
const BACKLOG: i32 = 32;

/// Enables the loopback and passes a listening socket on it to the host. The guest keeps no copy.
pub(crate) fn open(channel: HostChannel, port: u16) -> Result<()> {
    let socket = sys::tcp_socket()?;
    let passed = sys::bring_up(socket, b"lo")
        .and_then(|()| sys::bind_to_loopback(socket, port))
        .and_then(|()| sys::listen(socket, BACKLOG))
        .and_then(|()| channel.answer_with(FrameKind::EgressListener, 0, Some(socket), |_| Ok(())));
    sys::close(socket);
    passed
}
