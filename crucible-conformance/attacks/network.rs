//! The host's loopback, other machines, and being reached.

use super::nr;
use super::scene::Scene;
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
    // The last byte of the address, which follows the flow.
    if let Some(slot) = address.get_mut(23) {
        *slot = 1;
    }
    address
}

pub(crate) fn tcp_loopback(scene: &Scene) {
    let connected = sys::call(nr::SOCKET, [usize::from(AF_INET), SOCK_STREAM, 0]).and_then(|socket| {
        let address = v4([127, 0, 0, 1], scene.tcp);
        sys::call(nr::CONNECT, [socket, sys::of(&address), size_of_val(&address)])
    });
    scene.tried(b"connect", &connected);
}

pub(crate) fn tcp_loopback_v6(scene: &Scene) {
    let connected = sys::call(nr::SOCKET, [usize::from(AF_INET6), SOCK_STREAM, 0]).and_then(|socket| {
        let address = v6_loopback(scene.tcp);
        sys::call(nr::CONNECT, [socket, sys::of(&address), size_of_val(&address)])
    });
    scene.tried(b"connect", &connected);
}

pub(crate) fn udp_loopback(scene: &Scene) {
    let sent = sys::call(nr::SOCKET, [usize::from(AF_INET), SOCK_DGRAM, 0]).and_then(|socket| {
        let address = v4([127, 0, 0, 1], scene.udp);
        let text = scene.mark.to_bytes();
        let arguments = [socket, sys::at(scene.mark), text.len(), 0, sys::of(&address), size_of_val(&address)];
        sys::call(nr::SENDTO, arguments)
    });
    scene.tried(b"sendto", &sent);
}

pub(crate) fn raw_sockets(scene: &Scene) {
    for (what, protocol) in [(b"ICMP".as_slice(), 1), (b"TCP", 6), (b"raw", 255)] {
        scene.tried(what, &sys::call(nr::SOCKET, [usize::from(AF_INET), SOCK_RAW, protocol]));
    }
    // ICMP for everybody (`net.ipv4.ping_group_range`) is refused or not; it is no matter of privilege.
    scene.tried(b"ICMPv6", &sys::call(nr::SOCKET, [usize::from(AF_INET6), SOCK_RAW, 58]));
}

/// The address at which clouds tell a machine its secrets. A connection that is on its way is one that is allowed.
pub(crate) fn metadata_service(scene: &Scene) {
    const EINPROGRESS: i32 = 115;
    let kind = SOCK_STREAM | NON_BLOCKING;
    let connected = sys::call(nr::SOCKET, [usize::from(AF_INET), kind, 0]).and_then(|socket| {
        let address = v4([169, 254, 169, 254], 80);
        sys::call(nr::CONNECT, [socket, sys::of(&address), size_of_val(&address)])
    });
    match connected {
        Err(sys::Errno(EINPROGRESS)) => scene.harm(b"a connection is on its way"),
        other => scene.tried(b"connect", &other),
    }
}

/// Listens where the host could connect to, for as long as the host tries.
pub(crate) fn inbound(scene: &Scene) {
    let port = u16::try_from(super::scene::number(scene.extra)).unwrap_or_default();
    let listening = sys::call(nr::SOCKET, [usize::from(AF_INET), SOCK_STREAM, 0]).and_then(|socket| {
        let address = v4([0, 0, 0, 0], port);
        sys::call(nr::BIND, [socket, sys::of(&address), size_of_val(&address)])?;
        sys::call(nr::LISTEN, [socket, 4])
    });
    if listening.is_err() {
        scene.tried(b"listen", &listening);
        return;
    }
    scene.found(b"listening");
    sys::sleep_ms(1500);
}
