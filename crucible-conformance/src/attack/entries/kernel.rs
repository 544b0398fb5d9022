//! Doors of the kernel that have let programs out before, or lead to parts that programs do without.

use crucible_core::Layer;

use crate::attack::entry::{Attack, Control};

const SECCOMP: &[Layer] = &[Layer::Seccomp];
const BOTH: &[Layer] = &[Layer::Seccomp, Layer::Capabilities];
const CLOSED: &str = "the door is closed";

fn door(catalogue: &'static str, does: &'static str) -> Attack {
    Attack::new(catalogue, does, CLOSED).stopped_by(BOTH)
}

/// For calls that anybody may make on an ordinary host.
fn open_door(catalogue: &'static str, does: &'static str) -> Attack {
    Attack::new(catalogue, does, CLOSED).stopped_by(SECCOMP)
}

fn if_there(attack: Attack, reason: &'static str) -> Attack {
    attack.shown_by(Control::BareIfThere("", reason))
}

pub(in crate::attack) fn mount_tmpfs() -> Attack {
    door("F1", "mounts a file system").shown_in("m")
}

pub(in crate::attack) fn mount_bind() -> Attack {
    door("F1", "mounts a directory at another place").shown_in("m")
}

pub(in crate::attack) fn remount_root() -> Attack {
    door("F1", "makes a mount of the root writable").shown_in("m")
}

pub(in crate::attack) fn unmount() -> Attack {
    door("F1", "takes a mount off, to see what is beneath").shown_in("m")
}

pub(in crate::attack) fn new_mount_api() -> Attack {
    door("F1", "mounts by descriptor (CVE-2022-0185 was there)").shown_in("m")
}

pub(in crate::attack) fn pivot() -> Attack {
    door("F1", "changes the root of everybody by pivot_root(2)").shown_in("m")
}

pub(in crate::attack) fn change_root() -> Attack {
    door("F1", "changes its own root by chroot(2)").shown_in("m")
}

pub(in crate::attack) fn file_handles() -> Attack {
    door("F1", "opens a file by its handle, past every path (Shocker)")
}

pub(in crate::attack) fn keyrings() -> Attack {
    open_door("F3", "makes a session keyring, adds a key, asks for one")
}

pub(in crate::attack) fn io_uring() -> Attack {
    let attack =
        open_door("F4", "sets up io_uring, which does what filters refuse out of their sight");
    if_there(attack, "this kernel has no io_uring, or lets nobody use it")
}

pub(in crate::attack) fn bpf() -> Attack {
    door("F5", "makes a BPF map")
}

pub(in crate::attack) fn perf_events() -> Attack {
    if_there(door("F5", "opens a performance counter"), "this kernel has no performance counters")
}

pub(in crate::attack) fn user_faults() -> Attack {
    let attack = door(
        "F5",
        "handles page faults of the kernel itself, which holds it up in the middle of a copy",
    );
    if_there(attack, "this kernel has no userfaultfd")
}

pub(in crate::attack) fn kexec() -> Attack {
    if_there(door("F5", "loads another kernel"), "this kernel loads no other")
}

pub(in crate::attack) fn load_module() -> Attack {
    if_there(door("F5", "loads and removes kernel modules"), "this kernel has no modules")
}

pub(in crate::attack) fn quotas() -> Attack {
    if_there(door("F5", "asks for disk quotas"), "this kernel has no quotas")
}

pub(in crate::attack) fn swap() -> Attack {
    if_there(door("F5", "adds swap space").refused_with(&[1, 38]), "this kernel has no swap")
}

pub(in crate::attack) fn restart() -> Attack {
    door("F5", "restarts the machine, with numbers that mean nothing")
}

pub(in crate::attack) fn kernel_log() -> Attack {
    if_there(door("F5", "reads the kernel's log"), "this kernel keeps no log")
}

pub(in crate::attack) fn accounting() -> Attack {
    if_there(door("F5", "switches accounting off"), "this kernel has no accounting")
}

pub(in crate::attack) fn io_ports() -> Attack {
    if_there(door("F5", "asks for the machine's ports"), "this kernel has no access to ports")
}

pub(in crate::attack) fn fanotify() -> Attack {
    if_there(door("F5", "watches all files"), "this kernel has no fanotify")
}

pub(in crate::attack) fn move_pages() -> Attack {
    if_there(
        open_door("F5", "moves pages between parts of the machine's memory"),
        "this kernel cannot move pages",
    )
}

pub(in crate::attack) fn local_descriptors() -> Attack {
    if_there(
        open_door("F8", "writes a segment descriptor of its own (CVE-2015-5157)"),
        "this kernel lets nobody",
    )
}

pub(in crate::attack) fn host_name() -> Attack {
    Attack::new("G4", "changes the name of the host", "it cannot")
        .stopped_by(&[Layer::Seccomp, Layer::Capabilities, Layer::UtsNamespace])
        .shown_in("u")
}

pub(in crate::attack) fn calls_of_x32() -> Attack {
    let attack = open_door("F6", "makes a system call by its number in the x32 ABI").does_nothing();
    if_there(attack, "this kernel has no x32 ABI")
}

pub(in crate::attack) fn calls_of_i386() -> Attack {
    let attack =
        open_door("F6", "makes a system call by the door of 32-bit programs").does_nothing();
    if_there(attack, "this kernel runs no 32-bit programs")
}
