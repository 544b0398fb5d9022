//! The way out of a sandbox with an allow-list: a socket that listens on its loopback, and that the host accepts on.
//!
//! There is no interface but the loopback, and so no way for a packet to leave: what gets out are the bytes that the host's
//! proxy passes on.

use super::control::Control;
use super::errno::Result;
use super::sys;
use crate::protocol::FrameKind;

/// How many connections wait until the host accepts them. What comes beyond is kept waiting by the kernel.
const BACKLOG: i32 = 32;

/// Sets the loopback up and hands a socket that listens on it over to the host. Nothing of it stays here.
pub(crate) fn open(control: Control, port: u16) -> Result<()> {
    let socket = sys::tcp_socket()?;
    let handed_over = sys::bring_up(socket, b"lo")
        .and_then(|()| sys::bind_to_loopback(socket, port))
        .and_then(|()| sys::listen(socket, BACKLOG))
        .and_then(|()| control.answer_with(FrameKind::EgressListener, 0, Some(socket), |_| Ok(())));
    sys::close(socket);
    handed_over
}
