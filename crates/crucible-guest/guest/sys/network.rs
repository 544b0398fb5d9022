//! TCP on the loopback (tcp(7), netdevice(7)).

use super::errno::{Errno, Result};
use super::files::to_fd;
use super::machine::{nr, syscall};
use super::{Fd, check, signed};

const AF_INET: u16 = 2;

/// socket(2) for TCP over IPv4.
pub(crate) fn tcp_socket() -> Result<Fd> {
    /// `SOCK_STREAM | SOCK_CLOEXEC`
    const STREAM: usize = 1 | 0x8_0000;
    // SAFETY: the call accesses no memory.
    check(unsafe { syscall(nr::SOCKET, [usize::from(AF_INET), STREAM, 0, 0, 0, 0]) })
        .and_then(to_fd)
}

/// ioctl(2) with `SIOCSIFFLAGS`: enables an interface of the socket's network namespace. The kernel
/// assigns the loopback its addresses.
pub(crate) fn bring_up(socket: Fd, interface: &[u8]) -> Result<()> {
    /// `struct ifreq` with its flags.
    #[repr(C)]
    struct InterfaceRequest {
        name: [u8; 16],
        flags: u16,
        rest: [u8; 22],
    }
    const SIOCSIFFLAGS: usize = 0x8914;
    const IFF_UP: u16 = 1;
    let mut request = InterfaceRequest { name: [0; 16], flags: IFF_UP, rest: [0; 22] };
    // The last byte stays NUL.
    let name = request.name.get_mut(..interface.len().min(15)).ok_or(Errno::INVAL)?;
    name.copy_from_slice(interface.get(..name.len()).ok_or(Errno::INVAL)?);
    let arguments = [signed(socket.0), SIOCSIFFLAGS, &raw const request as usize, 0, 0, 0];
    // SAFETY: the kernel reads the 40 bytes of the structure.
    check(unsafe { syscall(nr::IOCTL, arguments) }).map(drop)
}

/// bind(2) to a port of 127.0.0.1.
pub(crate) fn bind_to_loopback(socket: Fd, port: u16) -> Result<()> {
    /// `struct sockaddr_in`
    #[repr(C)]
    struct SocketAddress {
        family: u16,
        port: [u8; 2],
        address: [u8; 4],
        zero: [u8; 8],
    }
    let address = SocketAddress {
        family: AF_INET,
        port: port.to_be_bytes(),
        address: [127, 0, 0, 1],
        zero: [0; 8],
    };
    let arguments =
        [signed(socket.0), &raw const address as usize, size_of::<SocketAddress>(), 0, 0, 0];
    // SAFETY: the kernel reads the bytes of the structure.
    check(unsafe { syscall(nr::BIND, arguments) }).map(drop)
}

/// listen(2)
pub(crate) fn listen(socket: Fd, backlog: i32) -> Result<()> {
    // SAFETY: the call accesses no memory.
    check(unsafe { syscall(nr::LISTEN, [signed(socket.0), signed(backlog), 0, 0, 0, 0]) }).map(drop)
}
