//! Doors of the kernel that have let programs out before, or lead to parts that programs do without.
//!
//! Each is tried with arguments that do nothing if they are let through: what counts is how far the kernel goes. An error
//! other than a refusal means that the door is open.

use super::nr;
use super::scene::Scene;
use super::sys::{self, AT_FDCWD, O_PATH};
use super::{children, machine};

const MS_RDONLY: usize = 1;
const MS_REMOUNT: usize = 32;
const MS_BIND: usize = 4096;
const MNT_DETACH: usize = 2;

fn try_it<const N: usize>(scene: &Scene, what: &[u8], number: u32, arguments: [usize; N]) {
    scene.tried(what, &sys::call(number, arguments));
}

pub(crate) fn mount_tmpfs(scene: &Scene) {
    let tmpfs = sys::at(c"tmpfs");
    try_it(scene, b"mount", nr::MOUNT, [tmpfs, sys::at(scene.place), tmpfs, 0, 0]);
}

pub(crate) fn mount_bind(scene: &Scene) {
    try_it(scene, b"mount", nr::MOUNT, [sys::at(c"/proc"), sys::at(scene.place), 0, MS_BIND, 0]);
}

/// As it is, so that a control changes nothing.
pub(crate) fn remount_root(scene: &Scene) {
    let flags = MS_REMOUNT | MS_BIND;
    try_it(scene, b"mount", nr::MOUNT, [0, sys::at(c"/"), 0, flags, 0]);
    try_it(scene, b"read-only", nr::MOUNT, [0, sys::at(c"/usr"), 0, flags | MS_RDONLY, 0]);
}

pub(crate) fn unmount(scene: &Scene) {
    try_it(scene, b"umount", nr::UMOUNT2, [sys::at(c"/proc"), MNT_DETACH]);
}

/// The interface by descriptors, whose checks are its own (CVE-2022-0185 was in `fsconfig`).
pub(crate) fn new_mount_api(scene: &Scene) {
    try_it(scene, b"fsopen", nr::FSOPEN, [sys::at(c"tmpfs"), 0]);
    try_it(scene, b"fspick", nr::FSPICK, [AT_FDCWD, sys::at(c"/"), 0]);
    try_it(scene, b"open_tree", nr::OPEN_TREE, [AT_FDCWD, sys::at(c"/"), 1]);
    try_it(scene, b"move_mount", nr::MOVE_MOUNT, [AT_FDCWD, sys::at(c"/proc"), AT_FDCWD, sys::at(scene.place), 0]);
    let attributes = [0u64; 4];
    let arguments = [AT_FDCWD, sys::at(c"/"), 0, sys::of(&attributes), size_of_val(&attributes)];
    try_it(scene, b"mount_setattr", nr::MOUNT_SETATTR, arguments);
}

pub(crate) fn pivot(scene: &Scene) {
    try_it(scene, b"pivot_root", nr::PIVOT_ROOT, [sys::at(c"/proc"), sys::at(c"/proc")]);
}

pub(crate) fn change_root(scene: &Scene) {
    try_it(scene, b"chroot", nr::CHROOT, [sys::at(c"/")]);
}

/// A file by its handle, past every path (the escape known as Shocker).
pub(crate) fn file_handles(scene: &Scene) {
    #[repr(C)]
    struct Handle {
        size: u32,
        kind: i32,
        bytes: [u8; 128],
    }
    let mut handle = Handle { size: 128, kind: 1, bytes: [0; 128] };
    let mut mount = 0i32;
    let path = sys::at(scene.place);
    let named = sys::call(
        nr::NAME_TO_HANDLE_AT,
        [AT_FDCWD, path, sys::into(&mut handle), sys::into(&mut mount), 0],
    );
    if named.is_err() {
        // Any will do: what counts is whether the kernel looks at it.
        handle.size = 8;
    }
    let place = match sys::open(scene.place, 0) {
        Ok(place) => place,
        Err(error) => scene.broken(b"open", error),
    };
    try_it(scene, b"open_by_handle_at", nr::OPEN_BY_HANDLE_AT, [place, sys::into(&mut handle), O_PATH]);
}

pub(crate) fn keyrings(scene: &Scene) {
    const KEYCTL_GET_KEYRING_ID: usize = 0;
    let session = sys::argument(-3);
    try_it(scene, b"keyctl", nr::KEYCTL, [KEYCTL_GET_KEYRING_ID, session, 1]);
    let (kind, name, data) = (sys::at(c"user"), sys::at(c"crucible"), sys::at(c"x"));
    try_it(scene, b"add_key", nr::ADD_KEY, [kind, name, data, 1, session]);
    // Without a helper to make it: there is none, or there is one.
    try_it(scene, b"request_key", nr::REQUEST_KEY, [kind, name, 0, session]);
}

pub(crate) fn io_uring(scene: &Scene) {
    let mut parameters = [0u32; 30];
    try_it(scene, b"io_uring_setup", nr::IO_URING_SETUP, [4, sys::into(&mut parameters)]);
}

pub(crate) fn bpf(scene: &Scene) {
    // `BPF_MAP_CREATE` of an array with one entry.
    let attributes = [2u32, 4, 8, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    try_it(scene, b"bpf", nr::BPF, [0, sys::of(&attributes), size_of_val(&attributes)]);
}

pub(crate) fn perf_events(scene: &Scene) {
    // `PERF_TYPE_SOFTWARE`, `PERF_COUNT_SW_DUMMY`.
    let mut attributes = [0u64; 16];
    for (slot, value) in attributes.iter_mut().zip([1 | (128 << 32), 9]) {
        *slot = value;
    }
    try_it(scene, b"perf_event_open", nr::PERF_EVENT_OPEN, [sys::of(&attributes), 0, sys::argument(-1), sys::NO_FD, 0]);
}

pub(crate) fn user_faults(scene: &Scene) {
    // `UFFD_USER_MODE_ONLY` would be for everybody.
    try_it(scene, b"userfaultfd", nr::USERFAULTFD, [0]);
}

pub(crate) fn kexec(scene: &Scene) {
    // No segment: what is loaded is unloaded, and nothing is.
    try_it(scene, b"kexec_load", nr::KEXEC_LOAD, [0, 0, 0, 0]);
    try_it(scene, b"kexec_file_load", nr::KEXEC_FILE_LOAD, [sys::NO_FD, sys::NO_FD, 0, 0, 0]);
}

pub(crate) fn load_module(scene: &Scene) {
    let image = [0u8; 64];
    try_it(scene, b"init_module", nr::INIT_MODULE, [sys::of(&image), 64, sys::at(c"")]);
    try_it(scene, b"finit_module", nr::FINIT_MODULE, [sys::NO_FD, sys::at(c""), 0]);
    try_it(scene, b"delete_module", nr::DELETE_MODULE, [sys::at(c"crucible_no_such"), 0o4000]);
}

pub(crate) fn quotas(scene: &Scene) {
    // `Q_SYNC` of user quotas, on a device that is none.
    const Q_GETFMT_USER: usize = 0x80_0004_00;
    let mut format = 0u32;
    let arguments = [Q_GETFMT_USER, sys::at(c"/dev/null"), 0, sys::into(&mut format)];
    try_it(scene, b"quotactl", nr::QUOTACTL, arguments);
}

pub(crate) fn swap(scene: &Scene) {
    let path = scene.in_place(b"swap").path().as_ptr().expose_provenance();
    try_it(scene, b"swapon", nr::SWAPON, [path, 0]);
}

/// With numbers that mean nothing.
pub(crate) fn restart(scene: &Scene) {
    try_it(scene, b"reboot", nr::REBOOT, [0xfee1_dead, 672_274_793, 0x1234_5678, 0]);
}

pub(crate) fn kernel_log(scene: &Scene) {
    const SYSLOG_ACTION_READ_ALL: usize = 3;
    let mut text = [0u8; 256];
    try_it(scene, b"syslog", nr::SYSLOG, [SYSLOG_ACTION_READ_ALL, sys::into(&mut text), 256]);
}

/// Off, as it is.
pub(crate) fn accounting(scene: &Scene) {
    try_it(scene, b"acct", nr::ACCT, [0]);
}

pub(crate) fn io_ports(scene: &Scene) {
    try_it(scene, b"iopl", nr::IOPL, [3]);
}

pub(crate) fn fanotify(scene: &Scene) {
    try_it(scene, b"fanotify_init", nr::FANOTIFY_INIT, [0, 0]);
}

pub(crate) fn move_pages(scene: &Scene) {
    let node = 1u64;
    try_it(scene, b"move_pages", nr::MOVE_PAGES, [0, 0, 0, 0, 0, 0]);
    try_it(scene, b"migrate_pages", nr::MIGRATE_PAGES, [0, 1, sys::of(&node), sys::of(&node)]);
}

/// Segments of its own in the processor's table (CVE-2015-5157 and others).
pub(crate) fn local_descriptors(scene: &Scene) {
    // number, base, limit, flags: an empty one.
    let descriptor = [0u32, 0, 0, 0x28];
    try_it(scene, b"modify_ldt", nr::MODIFY_LDT, [1, sys::of(&descriptor), 16]);
}

/// Where the name is the sandbox's own, it takes a privilege to change it nevertheless.
pub(crate) fn host_name(scene: &Scene) {
    try_it(scene, b"sethostname", nr::SETHOSTNAME, [sys::at(c"owned"), 5]);
    try_it(scene, b"setdomainname", nr::SETDOMAINNAME, [sys::at(c"owned"), 5]);
}

/// In a child, which may be ended for it.
fn foreign(scene: &Scene, what: &'static [u8], call: impl FnOnce() -> bool) {
    let child = children::start(|| sys::exit(if call() { 42 } else { 43 }));
    match child.and_then(|pid| sys::wait(pid, 0)) {
        Ok((_, status)) if status == 42 << 8 => scene.harm(what),
        // An exit with 43, or the signal that the filter sends.
        Ok((_, status)) => scene.found(if status == 43 << 8 { b"refused" } else { b"ended" }),
        Err(error) => scene.broken(b"fork", error),
    }
}

pub(crate) fn calls_of_x32(scene: &Scene) {
    const X32: u32 = 0x4000_0000;
    foreign(scene, b"getpid of x32", || sys::call(X32 | nr::GETPID, []).is_ok());
}

/// `getpid` has the number 20 there.
pub(crate) fn calls_of_i386(scene: &Scene) {
    foreign(scene, b"getpid of i386", || machine::syscall_32(20) > 0);
}
