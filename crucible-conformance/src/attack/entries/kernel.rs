//! Attacks on system calls that have led out of sandboxes before, or that ordinary programs do not
//! use.

use crucible_core::Layer;

use crate::attack::definition::{Attack, ControlMethod};

const SECCOMP: &[Layer] = &[Layer::Seccomp];
const BOTH: &[Layer] = &[Layer::Seccomp, Layer::Capabilities];
const REFUSED: &str = "the call is refused";

/// Creates an attack by a call that needs a privilege on an ordinary host.
fn privileged_call(catalogue: &'static str, does: &'static str) -> Attack {
    Attack::new(catalogue, does, REFUSED).stopped_by(BOTH)
}

/// Creates an attack by a call that needs no privilege on an ordinary host.
fn unprivileged_call(catalogue: &'static str, does: &'static str) -> Attack {
    Attack::new(catalogue, does, REFUSED).stopped_by(SECCOMP)
}

/// Skips the control if the kernel does not support the call.
fn if_supported(attack: Attack, reason: &'static str) -> Attack {
    attack.with_control(ControlMethod::UnsandboxedIfSupported("", reason))
}

pub(in crate::attack) fn mount_tmpfs() -> Attack {
    privileged_call("F1", "mounts a file system").with_scratch_control("m")
}

pub(in crate::attack) fn mount_bind() -> Attack {
    privileged_call("F1", "bind-mounts a directory").with_scratch_control("m")
}

pub(in crate::attack) fn remount_root() -> Attack {
    privileged_call("F1", "remounts the root file system as writable").with_scratch_control("m")
}

pub(in crate::attack) fn unmount() -> Attack {
    privileged_call("F1", "unmounts a file system, to see the directory beneath")
        .with_scratch_control("m")
}

pub(in crate::attack) fn new_mount_api() -> Attack {
    privileged_call("F1", "uses the mount interface with descriptors (site of CVE-2022-0185)")
        .with_scratch_control("m")
}

pub(in crate::attack) fn pivot() -> Attack {
    privileged_call("F1", "changes the root of its mount namespace by pivot_root(2)")
        .with_scratch_control("m")
}

pub(in crate::attack) fn change_root() -> Attack {
    privileged_call("F1", "changes its own root by chroot(2)").with_scratch_control("m")
}

pub(in crate::attack) fn file_handles() -> Attack {
    privileged_call("F1", "opens a file by its handle, which bypasses path checks (Shocker)")
}

pub(in crate::attack) fn keyrings() -> Attack {
    unprivileged_call("F3", "creates a session keyring, adds a key, requests a key")
}

pub(in crate::attack) fn io_uring() -> Attack {
    let attack =
        unprivileged_call("F4", "sets up io_uring, whose operations bypass seccomp filters");
    if_supported(attack, "this kernel has no io_uring, or has disabled it")
}

pub(in crate::attack) fn bpf() -> Attack {
    privileged_call("F5", "creates a BPF map")
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
        "handles page faults of the kernel, which can stop the kernel in the middle of a copy",
    );
    if_supported(attack, "this kernel has no userfaultfd")
}

pub(in crate::attack) fn kexec() -> Attack {
    if_supported(
        privileged_call("F5", "loads another kernel"),
        "this kernel cannot load another kernel",
    )
}

pub(in crate::attack) fn load_module() -> Attack {
    if_supported(
        privileged_call("F5", "loads and removes kernel modules"),
        "this kernel has no loadable modules",
    )
}

pub(in crate::attack) fn quotas() -> Attack {
    if_supported(privileged_call("F5", "queries disk quotas"), "this kernel has no quotas")
}

pub(in crate::attack) fn swap() -> Attack {
    if_supported(
        privileged_call("F5", "adds swap space").refused_with(&[1, 38]),
        "this kernel has no swap",
    )
}

pub(in crate::attack) fn restart() -> Attack {
    privileged_call("F5", "calls reboot(2) with an undefined command")
}

pub(in crate::attack) fn kernel_log() -> Attack {
    if_supported(privileged_call("F5", "reads the kernel's log"), "this kernel has no log")
}

pub(in crate::attack) fn accounting() -> Attack {
    if_supported(
        privileged_call("F5", "switches process accounting off"),
        "this kernel has no process accounting",
    )
}

pub(in crate::attack) fn io_ports() -> Attack {
    if_supported(
        privileged_call("F5", "requests access to I/O ports"),
        "this kernel gives no access to I/O ports",
    )
}

pub(in crate::attack) fn fanotify() -> Attack {
    if_supported(
        privileged_call("F5", "creates a fanotify group, which can watch all files"),
        "this kernel has no fanotify",
    )
}

pub(in crate::attack) fn move_pages() -> Attack {
    if_supported(
        unprivileged_call("F5", "moves memory pages between NUMA nodes"),
        "this kernel cannot move pages",
    )
}

pub(in crate::attack) fn local_descriptors() -> Attack {
    if_supported(
        unprivileged_call("F8", "writes a segment descriptor into its local table (CVE-2015-5157)"),
        "this kernel has no local descriptor tables",
    )
}

pub(in crate::attack) fn host_name() -> Attack {
    Attack::new("G4", "changes the host name", "the call is refused")
        .stopped_by(&[Layer::Seccomp, Layer::Capabilities, Layer::UtsNamespace])
        .with_scratch_control("u")
}

pub(in crate::attack) fn calls_of_x32() -> Attack {
    let attack =
        unprivileged_call("F6", "makes a system call with a number of the x32 ABI").ends_normally();
    if_supported(attack, "this kernel has no x32 ABI")
}

pub(in crate::attack) fn calls_of_i386() -> Attack {
    let attack =
        unprivileged_call("F6", "makes a system call through the entry of 32-bit programs")
            .ends_normally();
    if_supported(attack, "this kernel runs no 32-bit programs")
}
