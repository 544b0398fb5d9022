//! Attacks by local sockets, uncommon socket families, and shared IPC objects.

use crucible_core::Layer;

use crate::attack::definition::{Attack, ControlMethod, FixtureNeeds, SharedIpcKind};

const SECCOMP: &[Layer] = &[Layer::Seccomp];

fn socket_family(
    catalogue: &'static str,
    action: &'static str,
    layers: &'static [Layer],
) -> Attack {
    Attack::new(catalogue, action, "the socket is refused").stopped_by(layers)
}

pub(in crate::attack) fn abstract_socket() -> Attack {
    Attack::new("G1", "connects to an abstract socket of the host", "the connection fails")
        .stopped_by(&[Layer::NetworkNamespace, Layer::Landlock])
        .ends_normally()
}

pub(in crate::attack) fn path_socket() -> Attack {
    Attack::new("G2", "connects to sockets of the host by their paths", "the connection fails")
        .stopped_by(&[Layer::MountNamespace])
        .ends_normally()
}

pub(in crate::attack) fn vsock() -> Attack {
    let attack =
        socket_family("G3", "creates a vsock socket, which reaches the hypervisor", SECCOMP);
    attack.with_control(ControlMethod::UnsandboxedIfSupported(
        "",
        "this kernel does not support the socket",
    ))
}

pub(in crate::attack) fn netlink_route() -> Attack {
    socket_family("G3", "creates a netlink socket for routes", SECCOMP)
}

pub(in crate::attack) fn netlink_diag() -> Attack {
    let attack = socket_family(
        "G3",
        "creates a netlink socket that lists sockets of all processes",
        SECCOMP,
    );
    attack.with_control(ControlMethod::UnsandboxedIfSupported(
        "",
        "this kernel does not support the socket",
    ))
}

pub(in crate::attack) fn netlink_firewall() -> Attack {
    let attack =
        socket_family("F8", "creates a netlink socket for the firewall (CVE-2024-1086)", SECCOMP);
    attack.with_control(ControlMethod::UnsandboxedIfSupported(
        "",
        "this kernel does not support the socket",
    ))
}

pub(in crate::attack) fn crypto_socket() -> Attack {
    let attack = socket_family(
        "F7",
        "creates a socket of the kernel's cryptography (CVE-2026-31431)",
        SECCOMP,
    );
    attack.with_control(ControlMethod::UnsandboxedIfSupported(
        "",
        "this kernel does not support the socket",
    ))
}

pub(in crate::attack) fn packet_socket() -> Attack {
    let layers = &[Layer::Seccomp, Layer::Capabilities];
    let attack = socket_family("F8", "creates a packet socket (CVE-2020-14386)", layers);
    attack.with_control(ControlMethod::UnsandboxedIfSupported(
        "",
        "this kernel does not support the socket",
    ))
}

pub(in crate::attack) fn shared_segment() -> Attack {
    Attack::new(
        "G1",
        "looks for a System V shared memory segment of the host",
        "it does not find it",
    )
    .stopped_by(&[Layer::IpcNamespace])
    .ends_normally()
    .with_needs(FixtureNeeds::SharedIpc(SharedIpcKind::Segment))
}

pub(in crate::attack) fn message_queue() -> Attack {
    Attack::new("G1", "looks for a POSIX message queue of the host", "it does not find it")
        .stopped_by(&[Layer::IpcNamespace])
        .ends_normally()
        .with_needs(FixtureNeeds::SharedIpc(SharedIpcKind::Queue))
}
