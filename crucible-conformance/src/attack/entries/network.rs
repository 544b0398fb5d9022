//! Attacks on the host's loopback, on other machines, and by inbound connections.

use crucible_core::Layer;

use crate::attack::definition::{Attack, ControlMethod, FixtureNeeds};

const NETWORK: &[Layer] = &[Layer::Seccomp, Layer::NetworkNamespace];
/// Refused, or an empty network (`ENETUNREACH`, `EADDRNOTAVAIL`).
const REFUSED_OR_NO_NETWORK: &[i32] = &[1, 13, 97, 101, 99];

fn connection(action: &'static str) -> Attack {
    Attack::new("H1", action, "no connection or datagram leaves the sandbox")
        .stopped_by(NETWORK)
        .refused_with(REFUSED_OR_NO_NETWORK)
}

pub(in crate::attack) fn tcp_loopback() -> Attack {
    connection("connects to a port of the host's loopback")
}

pub(in crate::attack) fn tcp_loopback_v6() -> Attack {
    connection("connects to a port of the host's IPv6 loopback")
        .with_control(ControlMethod::UnsandboxedIfSupported("", "this host has no IPv6"))
}

pub(in crate::attack) fn udp_loopback() -> Attack {
    connection("sends a datagram to a port of the host's loopback")
}

pub(in crate::attack) fn raw_sockets() -> Attack {
    Attack::new(
        "H1",
        "creates raw sockets for ICMP, TCP and any protocol",
        "every socket is refused",
    )
    .stopped_by(&[Layer::Seccomp, Layer::Capabilities])
}

pub(in crate::attack) fn metadata_service() -> Attack {
    connection("connects to the metadata service of clouds, 169.254.169.254")
        .with_control(ControlMethod::UnsandboxedIfSupported("", "this host has no route to it"))
}

pub(in crate::attack) fn inbound() -> Attack {
    Attack::new(
        "H4",
        "listens on all addresses, while the host tries to connect",
        "no connection enters the sandbox",
    )
    .stopped_by(NETWORK)
    .with_needs(FixtureNeeds::InboundConnection)
}
