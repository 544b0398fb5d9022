//! Sockets of the local machine, of strange families, and other ways to talk to a neighbour.

use crucible_core::Layer;

use crate::attack::definition::{Attack, ControlMethod, FixtureNeeds, SharedIpcKind};

const SECCOMP: &[Layer] = &[Layer::Seccomp];

fn family(catalogue: &'static str, does: &'static str, layers: &'static [Layer]) -> Attack {
    Attack::new(catalogue, does, "there is no such socket").stopped_by(layers)
}

pub(in crate::attack) fn abstract_socket() -> Attack {
    Attack::new("G1", "connects to an abstract socket of the host", "nobody answers")
        .stopped_by(&[Layer::NetworkNamespace, Layer::Landlock])
        .ends_normally()
}

pub(in crate::attack) fn path_socket() -> Attack {
    Attack::new("G2", "connects to sockets of the host by their paths", "nobody answers")
        .stopped_by(&[Layer::MountNamespace])
        .ends_normally()
}

pub(in crate::attack) fn vsock() -> Attack {
    let attack = family("G3", "makes a socket to the machine that this one runs on", SECCOMP);
    attack
        .with_control(ControlMethod::UnsandboxedIfSupported("", "this kernel has no such sockets"))
}

pub(in crate::attack) fn netlink_route() -> Attack {
    family("G3", "makes a netlink socket for routes", SECCOMP)
}

pub(in crate::attack) fn netlink_diag() -> Attack {
    let attack = family("G3", "makes a netlink socket that lists others' sockets", SECCOMP);
    attack
        .with_control(ControlMethod::UnsandboxedIfSupported("", "this kernel has no such sockets"))
}

pub(in crate::attack) fn netlink_firewall() -> Attack {
    let attack = family("F8", "makes a netlink socket for the firewall (CVE-2024-1086)", SECCOMP);
    attack
        .with_control(ControlMethod::UnsandboxedIfSupported("", "this kernel has no such sockets"))
}

pub(in crate::attack) fn crypto_socket() -> Attack {
    let attack =
        family("F7", "makes a socket for the kernel's cryptography (CVE-2026-31431)", SECCOMP);
    attack
        .with_control(ControlMethod::UnsandboxedIfSupported("", "this kernel has no such sockets"))
}

pub(in crate::attack) fn packet_socket() -> Attack {
    let layers = &[Layer::Seccomp, Layer::Capabilities];
    let attack = family("F8", "makes a packet socket (CVE-2020-14386)", layers);
    attack
        .with_control(ControlMethod::UnsandboxedIfSupported("", "this kernel has no such sockets"))
}

pub(in crate::attack) fn shared_segment() -> Attack {
    Attack::new(
        "G1",
        "looks for a System V segment that somebody of the host made",
        "it finds none",
    )
    .stopped_by(&[Layer::IpcNamespace])
    .ends_normally()
    .with_needs(FixtureNeeds::SharedIpc(SharedIpcKind::Segment))
}

pub(in crate::attack) fn message_queue() -> Attack {
    Attack::new(
        "G1",
        "looks for a POSIX message queue that somebody of the host made",
        "it finds none",
    )
    .stopped_by(&[Layer::IpcNamespace])
    .ends_normally()
    .with_needs(FixtureNeeds::SharedIpc(SharedIpcKind::Queue))
}
