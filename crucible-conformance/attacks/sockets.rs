//! Attacks by local sockets, uncommon socket families, and shared IPC objects.

use super::context::AttackContext;
use super::nr;
use super::sys::{self, O_CREAT, O_RDWR, SysError};

const AF_UNIX: u16 = 1;
const SOCK_STREAM: usize = 1;
const SOCK_DGRAM: usize = 2;
const SOCK_RAW: usize = 3;

/// Returns an address of the Unix family: a path, or an abstract name that starts with NUL.
fn local_address(start: &[u8], name: &[u8]) -> ([u8; 110], usize) {
    let mut address = [0; 110];
    let bytes =
        AF_UNIX.to_ne_bytes().into_iter().chain(start.iter().copied()).chain(name.iter().copied());
    let mut length = 0;
    for (slot, byte) in address.iter_mut().zip(bytes) {
        *slot = byte;
        length += 1;
    }
    (address, length)
}

fn connect(start: &[u8], name: &[u8]) -> sys::Result<usize> {
    let socket = sys::call(nr::SOCKET, [usize::from(AF_UNIX), SOCK_STREAM, 0])?;
    let (address, length) = local_address(start, name);
    sys::call(nr::CONNECT, [socket, sys::ptr(&address), length])
}

/// Listens on an abstract name.
pub(crate) fn listen(name: &[u8]) -> sys::Result<usize> {
    let socket = sys::call(nr::SOCKET, [usize::from(AF_UNIX), SOCK_STREAM, 0])?;
    let (address, length) = local_address(b"\0", name);
    sys::call(nr::BIND, [socket, sys::ptr(&address), length])?;
    sys::call(nr::LISTEN, [socket, 1])
}

pub(crate) fn abstract_socket(context: &AttackContext) {
    if connect(b"\0", context.abstract_name.to_bytes()).is_ok() {
        context.report_harm(b"connected");
    }
}

pub(crate) fn path_socket(context: &AttackContext) {
    for path in [
        context.socket,
        c"/run/docker.sock",
        c"/run/dbus/system_bus_socket",
        c"/run/systemd/private",
    ] {
        if connect(b"", path.to_bytes()).is_ok() {
            context.report_harm(b"connected");
        }
    }
}

fn open(context: &AttackContext, what: &[u8], family: usize, kind: usize, protocol: usize) {
    context.report_attempt(what, &sys::call(nr::SOCKET, [family, kind, protocol]));
}

pub(crate) fn vsock(context: &AttackContext) {
    open(context, b"AF_VSOCK", 40, SOCK_STREAM, 0);
}

pub(crate) fn netlink_route(context: &AttackContext) {
    open(context, b"NETLINK_ROUTE", 16, SOCK_RAW, 0);
}

pub(crate) fn netlink_diag(context: &AttackContext) {
    open(context, b"NETLINK_SOCK_DIAG", 16, SOCK_RAW, 4);
}

/// Opens the interface to nf_tables (CVE-2024-1086).
pub(crate) fn netlink_firewall(context: &AttackContext) {
    open(context, b"NETLINK_NETFILTER", 16, SOCK_RAW, 12);
}

/// Opens a socket of the kernel's cryptography (CVE-2026-31431 and others).
pub(crate) fn crypto_socket(context: &AttackContext) {
    open(context, b"AF_ALG", 38, 5, 0);
}

/// Opens packet sockets (CVE-2020-14386).
pub(crate) fn packet_socket(context: &AttackContext) {
    open(context, b"AF_PACKET", 17, SOCK_RAW, 0);
    open(context, b"AF_PACKET datagrams", 17, SOCK_DGRAM, 0);
}

/// Looks for a segment of the host under the key from the parameter.
pub(crate) fn shared_segment(context: &AttackContext) {
    let key = usize::try_from(super::context::parse_number(context.parameter)).unwrap_or_default();
    match sys::call(nr::SHMGET, [key, 0, 0]) {
        Ok(_) => context.report_harm(b"a segment of the host"),
        Err(SysError(2)) => context.report_finding(b"no segment"),
        Err(error) => context.report_attempt::<()>(b"shmget", &Err(error)),
    }
}

pub(crate) fn message_queue(context: &AttackContext) {
    match sys::call(nr::MQ_OPEN, [sys::cstr_ptr(context.parameter), O_RDWR, 0, 0]) {
        Ok(_) => context.report_harm(b"a queue of the host"),
        Err(SysError(2)) => context.report_finding(b"no queue"),
        Err(error) => context.report_attempt::<()>(b"mq_open", &Err(error)),
    }
}

/// Creates the objects of [`shared_segment`] and [`message_queue`].
pub(crate) fn make_shared(key: usize, queue: &core::ffi::CStr) -> sys::Result<()> {
    const IPC_CREAT: usize = 0o1000;
    sys::call(nr::SHMGET, [key, 4096, IPC_CREAT | 0o666])?;
    make_queue(queue).map(drop)
}

/// Creates a small message queue, because the quota of a user is small.
pub(crate) fn make_queue(name: &core::ffi::CStr) -> sys::Result<usize> {
    // flags, maximum number of messages, message size, current number
    let attributes = [0i64, 1, 64, 0];
    sys::call(nr::MQ_OPEN, [sys::cstr_ptr(name), O_RDWR | O_CREAT, 0o666, sys::ptr(&attributes)])
}

/// Removes the objects from [`make_shared`].
pub(crate) fn remove_shared(key: usize, queue: &core::ffi::CStr) -> sys::Result<()> {
    const IPC_RMID: usize = 0;
    let removed =
        sys::call(nr::SHMGET, [key, 0, 0]).and_then(|id| sys::call(nr::SHMCTL, [id, IPC_RMID, 0]));
    let unlinked = sys::call(nr::MQ_UNLINK, [sys::cstr_ptr(queue)]);
    removed.and(unlinked).map(drop)
}
