//! TCP on the loopback (tcp(7), netdevice(7)).

use super::files::to_fd;
use super::machine::{nr, syscall};
use super::{Fd, check, signed};
use crate::agent::errno::{Errno, Result};

const AF_INET: u16 = 2;

/// socket(2) for TCP over IPv4.
pub(crate) fn tcp_socket() -> Result<Fd> {
    /// `SOCK_STREAM | SOCK_CLOEXEC`
    const STREAM: usize = 1 | 0x8_0000;
    // SAFETY: no memory is involved.
    check(unsafe { syscall(nr::SOCKET, [usize::from(AF_INET), STREAM, 0, 0, 0, 0]) })
        .and_then(to_fd)
}

/// ioctl(2) with `SIOCSIFFLAGS`: sets an interface of the socket's network namespace up. The kernel gives the loopback its
/// addresses.
pub(crate) fn bring_up(socket: Fd, interface: &[u8]) -> Result<()> {
    /// `struct ifreq` with its flags.
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: u16,
        rest: [u8; 22],
    }
    const SIOCSIFFLAGS: usize = 0x8914;
    const IFF_UP: u16 = 1;
    let mut request = Request { name: [0; 16], flags: IFF_UP, rest: [0; 22] };
    // The last byte stays NUL.
    let name = request.name.get_mut(..interface.len().min(15)).ok_or(Errno::INVAL)?;
    name.copy_from_slice(interface.get(..name.len()).ok_or(Errno::INVAL)?);
    let arguments = [signed(socket.0), SIOCSIFFLAGS, &raw const request as usize, 0, 0, 0];
    // SAFETY: the kernel reads a structure of this request, of 40 bytes.
    check(unsafe { syscall(nr::IOCTL, arguments) }).map(drop)
}

/// bind(2) to a port of 127.0.0.1.
pub(crate) fn bind_to_loopback(socket: Fd, port: u16) -> Result<()> {
    /// `struct sockaddr_in`
    #[repr(C)]
    struct Address {
        family: u16,
        port: [u8; 2],
        address: [u8; 4],
        zero: [u8; 8],
    }
    let address = Address {
        family: AF_INET,
        port: port.to_be_bytes(),
        address: [127, 0, 0, 1],
        zero: [0; 8],
    };
    let arguments = [signed(socket.0), &raw const address as usize, size_of::<Address>(), 0, 0, 0];
    // SAFETY: the kernel reads as many bytes as the structure has.
    check(unsafe { syscall(nr::BIND, arguments) }).map(drop)
}

/// listen(2)
pub(crate) fn listen(socket: Fd, backlog: i32) -> Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { syscall(nr::LISTEN, [signed(socket.0), signed(backlog), 0, 0, 0, 0]) }).map(drop)
}
