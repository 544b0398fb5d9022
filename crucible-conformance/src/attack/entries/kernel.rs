//! Doors of the kernel that have let programs out before, or lead to parts that programs do without.

use crucible_core::Layer;

use crate::attack::definition::{Attack, ControlMethod};

const SECCOMP: &[Layer] = &[Layer::Seccomp];
const BOTH: &[Layer] = &[Layer::Seccomp, Layer::Capabilities];
const REFUSED: &str = "the door is closed";

fn privileged_call(catalogue: &'static str, does: &'static str) -> Attack {
    Attack::new(catalogue, does, REFUSED).stopped_by(BOTH)
}

/// For calls that anybody may make on an ordinary host.
fn unprivileged_call(catalogue: &'static str, does: &'static str) -> Attack {
    Attack::new(catalogue, does, REFUSED).stopped_by(SECCOMP)
}

fn if_supported(attack: Attack, reason: &'static str) -> Attack {
    attack.with_control(ControlMethod::UnsandboxedIfSupported("", reason))
}

pub(in crate::attack) fn mount_tmpfs() -> Attack {
    privileged_call("F1", "mounts a file system").with_scratch_control("m")
}

pub(in crate::attack) fn mount_bind() -> Attack {
    privileged_call("F1", "mounts a directory at another place").with_scratch_control("m")
}

pub(in crate::attack) fn remount_root() -> Attack {
    privileged_call("F1", "makes a mount of the root writable").with_scratch_control("m")
}

pub(in crate::attack) fn unmount() -> Attack {
    privileged_call("F1", "takes a mount off, to see what is beneath").with_scratch_control("m")
}

pub(in crate::attack) fn new_mount_api() -> Attack {
    privileged_call("F1", "mounts by descriptor (CVE-2022-0185 was there)")
        .with_scratch_control("m")
}

pub(in crate::attack) fn pivot() -> Attack {
    privileged_call("F1", "changes the root of everybody by pivot_root(2)")
        .with_scratch_control("m")
}

pub(in crate::attack) fn change_root() -> Attack {
    privileged_call("F1", "changes its own root by chroot(2)").with_scratch_control("m")
}

pub(in crate::attack) fn file_handles() -> Attack {
    privileged_call("F1", "opens a file by its handle, past every path (Shocker)")
}

pub(in crate::attack) fn keyrings() -> Attack {
    unprivileged_call("F3", "makes a session keyring, adds a key, asks for one")
}

pub(in crate::attack) fn io_uring() -> Attack {
    let attack = unprivileged_call(
        "F4",
        "sets up io_uring, which does what filters refuse out of their sight",
    );
    if_supported(attack, "this kernel has no io_uring, or lets nobody use it")
}

pub(in crate::attack) fn bpf() -> Attack {
    privileged_call("F5", "makes a BPF map")
}

pub(in crate::attack) fn perf_events() -> Attack {
    if_supported(
        privileged_call("F5", "opens a performance counter"),
        "this kernel has no performance counters",
    )
}

pub(in crate::attack) fn user_faults() -> Attack {
    let attack = privileged_call(
        "F5",
        "handles page faults of the kernel itself, which holds it up in the middle of a copy",
    );
    if_supported(attack, "this kernel has no userfaultfd")
}

pub(in crate::attack) fn kexec() -> Attack {
    if_supported(privileged_call("F5", "loads another kernel"), "this kernel loads no other")
}

pub(in crate::attack) fn load_module() -> Attack {
    if_supported(
        privileged_call("F5", "loads and removes kernel modules"),
        "this kernel has no modules",
    )
}

pub(in crate::attack) fn quotas() -> Attack {
    if_supported(privileged_call("F5", "asks for disk quotas"), "this kernel has no quotas")
}

pub(in crate::attack) fn swap() -> Attack {
    if_supported(
        privileged_call("F5", "adds swap space").refused_with(&[1, 38]),
        "this kernel has no swap",
    )
}

pub(in crate::attack) fn restart() -> Attack {
    privileged_call("F5", "restarts the machine, with numbers that mean nothing")
}

pub(in crate::attack) fn kernel_log() -> Attack {
    if_supported(privileged_call("F5", "reads the kernel's log"), "this kernel keeps no log")
}

pub(in crate::attack) fn accounting() -> Attack {
    if_supported(privileged_call("F5", "switches accounting off"), "this kernel has no accounting")
}

pub(in crate::attack) fn io_ports() -> Attack {
    if_supported(
        privileged_call("F5", "asks for the machine's ports"),
        "this kernel has no access to ports",
    )
}

pub(in crate::attack) fn fanotify() -> Attack {
    if_supported(privileged_call("F5", "watches all files"), "this kernel has no fanotify")
}

pub(in crate::attack) fn move_pages() -> Attack {
    if_supported(
        unprivileged_call("F5", "moves pages between parts of the machine's memory"),
        "this kernel cannot move pages",
    )
}

pub(in crate::attack) fn local_descriptors() -> Attack {
    if_supported(
        unprivileged_call("F8", "writes a segment descriptor of its own (CVE-2015-5157)"),
        "this kernel lets nobody",
    )
}

pub(in crate::attack) fn host_name() -> Attack {
    Attack::new("G4", "changes the name of the host", "it cannot")
        .stopped_by(&[Layer::Seccomp, Layer::Capabilities, Layer::UtsNamespace])
        .with_scratch_control("u")
}

pub(in crate::attack) fn calls_of_x32() -> Attack {
    let attack =
        unprivileged_call("F6", "makes a system call by its number in the x32 ABI").ends_normally();
    if_supported(attack, "this kernel has no x32 ABI")
}

pub(in crate::attack) fn calls_of_i386() -> Attack {
    let attack = unprivileged_call("F6", "makes a system call by the door of 32-bit programs")
        .ends_normally();
    if_supported(attack, "this kernel runs no 32-bit programs")
}
