//! Attacks on the host's loopback, on other machines, and by inbound connections.

use super::context::AttackContext;
use super::nr;
use super::sys;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const SOCK_STREAM: usize = 1;
const SOCK_DGRAM: usize = 2;
const SOCK_RAW: usize = 3;
const NON_BLOCKING: usize = 0o4000;

fn v4(address: [u8; 4], port: u16) -> [u8; 16] {
    let [a, b, c, d] = address;
    let [high, low] = port.to_be_bytes();
    let [f0, f1] = AF_INET.to_ne_bytes();
    [f0, f1, high, low, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0]
}

fn v6_loopback(port: u16) -> [u8; 28] {
    let mut address = [0; 28];
    let [high, low] = port.to_be_bytes();
    let [f0, f1] = AF_INET6.to_ne_bytes();
    for (slot, byte) in address.iter_mut().zip([f0, f1, high, low]) {
        *slot = byte;
    }
    // The last byte of the address, which follows the flow label.
    if let Some(slot) = address.get_mut(23) {
        *slot = 1;
    }
    address
}

pub(crate) fn tcp_loopback(context: &AttackContext) {
    let connected =
        sys::call(nr::SOCKET, [usize::from(AF_INET), SOCK_STREAM, 0]).and_then(|socket| {
            let address = v4([127, 0, 0, 1], context.tcp);
            sys::call(nr::CONNECT, [socket, sys::ptr(&address), size_of_val(&address)])
        });
    context.report_attempt(b"connect", &connected);
}

pub(crate) fn tcp_loopback_v6(context: &AttackContext) {
    let connected =
        sys::call(nr::SOCKET, [usize::from(AF_INET6), SOCK_STREAM, 0]).and_then(|socket| {
            let address = v6_loopback(context.tcp);
            sys::call(nr::CONNECT, [socket, sys::ptr(&address), size_of_val(&address)])
        });
    context.report_attempt(b"connect", &connected);
}

pub(crate) fn udp_loopback(context: &AttackContext) {
    let sent = sys::call(nr::SOCKET, [usize::from(AF_INET), SOCK_DGRAM, 0]).and_then(|socket| {
        let address = v4([127, 0, 0, 1], context.udp);
        let text = context.mark.to_bytes();
        let arguments = [
            socket,
            sys::cstr_ptr(context.mark),
            text.len(),
            0,
            sys::ptr(&address),
            size_of_val(&address),
        ];
        sys::call(nr::SENDTO, arguments)
    });
    context.report_attempt(b"sendto", &sent);
}

pub(crate) fn raw_sockets(context: &AttackContext) {
    for (what, protocol) in [(b"ICMP".as_slice(), 1), (b"TCP", 6), (b"raw", 255)] {
        context.report_attempt(
            what,
            &sys::call(nr::SOCKET, [usize::from(AF_INET), SOCK_RAW, protocol]),
        );
    }
    // Unprivileged ICMP sockets (`net.ipv4.ping_group_range`) need no privilege and prove nothing.
    context
        .report_attempt(b"ICMPv6", &sys::call(nr::SOCKET, [usize::from(AF_INET6), SOCK_RAW, 58]));
}

/// Connects to the address at which clouds serve a machine's secrets. A connection in progress
/// means that the kernel allowed it.
pub(crate) fn metadata_service(context: &AttackContext) {
    const EINPROGRESS: i32 = 115;
    let kind = SOCK_STREAM | NON_BLOCKING;
    let connected = sys::call(nr::SOCKET, [usize::from(AF_INET), kind, 0]).and_then(|socket| {
        let address = v4([169, 254, 169, 254], 80);
        sys::call(nr::CONNECT, [socket, sys::ptr(&address), size_of_val(&address)])
    });
    match connected {
        Err(sys::SysError(EINPROGRESS)) => context.report_harm(b"a connection is in progress"),
        other => context.report_attempt(b"connect", &other),
    }
}

/// Listens on a port that the host tries to connect to.
pub(crate) fn inbound(context: &AttackContext) {
    let port = u16::try_from(super::context::parse_number(context.parameter)).unwrap_or_default();
    let listening =
        sys::call(nr::SOCKET, [usize::from(AF_INET), SOCK_STREAM, 0]).and_then(|socket| {
            let address = v4([0, 0, 0, 0], port);
            sys::call(nr::BIND, [socket, sys::ptr(&address), size_of_val(&address)])?;
            sys::call(nr::LISTEN, [socket, 4])
        });
    if listening.is_err() {
        context.report_attempt(b"listen", &listening);
        return;
    }
    context.report_finding(b"listening");
    sys::sleep_ms(1500);
}
