//! Attacks on system calls that have led out of sandboxes before, or that ordinary programs do not
//! use.
//!
//! The arguments have no effect if the kernel accepts the call. An error other than a refusal means
//! that the call got past the sandbox.

use super::context::AttackContext;
use super::nr;
use super::sys::{self, AT_FDCWD, O_PATH};
use super::{arch, children};

const MS_RDONLY: usize = 1;
const MS_REMOUNT: usize = 32;
const MS_BIND: usize = 4096;
const MNT_DETACH: usize = 2;

fn attempt_call<const N: usize>(
    context: &AttackContext,
    what: &[u8],
    number: u32,
    arguments: [usize; N],
) {
    context.report_attempt(what, &sys::call(number, arguments));
}

pub(crate) fn mount_tmpfs(context: &AttackContext) {
    let tmpfs = sys::cstr_ptr(c"tmpfs");
    attempt_call(
        context,
        b"mount",
        nr::MOUNT,
        [tmpfs, sys::cstr_ptr(context.work_dir), tmpfs, 0, 0],
    );
}

pub(crate) fn mount_bind(context: &AttackContext) {
    attempt_call(
        context,
        b"mount",
        nr::MOUNT,
        [sys::cstr_ptr(c"/proc"), sys::cstr_ptr(context.work_dir), 0, MS_BIND, 0],
    );
}

/// Remounts with the current flags, so that a control changes nothing.
pub(crate) fn remount_root(context: &AttackContext) {
    let flags = MS_REMOUNT | MS_BIND;
    attempt_call(context, b"mount", nr::MOUNT, [0, sys::cstr_ptr(c"/"), 0, flags, 0]);
    attempt_call(
        context,
        b"read-only",
        nr::MOUNT,
        [0, sys::cstr_ptr(c"/usr"), 0, flags | MS_RDONLY, 0],
    );
}

pub(crate) fn unmount(context: &AttackContext) {
    attempt_call(context, b"umount", nr::UMOUNT2, [sys::cstr_ptr(c"/proc"), MNT_DETACH]);
}

/// Uses the mount interface with descriptors, which has separate checks (CVE-2022-0185 was in
/// `fsconfig`).
pub(crate) fn new_mount_api(context: &AttackContext) {
    attempt_call(context, b"fsopen", nr::FSOPEN, [sys::cstr_ptr(c"tmpfs"), 0]);
    attempt_call(context, b"fspick", nr::FSPICK, [AT_FDCWD, sys::cstr_ptr(c"/"), 0]);
    attempt_call(context, b"open_tree", nr::OPEN_TREE, [AT_FDCWD, sys::cstr_ptr(c"/"), 1]);
    attempt_call(
        context,
        b"move_mount",
        nr::MOVE_MOUNT,
        [AT_FDCWD, sys::cstr_ptr(c"/proc"), AT_FDCWD, sys::cstr_ptr(context.work_dir), 0],
    );
    let attributes = [0u64; 4];
    let arguments =
        [AT_FDCWD, sys::cstr_ptr(c"/"), 0, sys::ptr(&attributes), size_of_val(&attributes)];
    attempt_call(context, b"mount_setattr", nr::MOUNT_SETATTR, arguments);
}

pub(crate) fn pivot(context: &AttackContext) {
    attempt_call(
        context,
        b"pivot_root",
        nr::PIVOT_ROOT,
        [sys::cstr_ptr(c"/proc"), sys::cstr_ptr(c"/proc")],
    );
}

pub(crate) fn change_root(context: &AttackContext) {
    attempt_call(context, b"chroot", nr::CHROOT, [sys::cstr_ptr(c"/")]);
}

/// Opens a file by its handle, which bypasses every path check (the escape known as Shocker).
pub(crate) fn file_handles(context: &AttackContext) {
    #[repr(C)]
    struct Handle {
        size: u32,
        kind: i32,
        bytes: [u8; 128],
    }
    let mut handle = Handle { size: 128, kind: 1, bytes: [0; 128] };
    let mut mount = 0i32;
    let path = sys::cstr_ptr(context.work_dir);
    let named = sys::call(
        nr::NAME_TO_HANDLE_AT,
        [AT_FDCWD, path, sys::mut_ptr(&mut handle), sys::mut_ptr(&mut mount), 0],
    );
    if named.is_err() {
        // Any handle is enough: the attempt shows whether the kernel reads it.
        handle.size = 8;
    }
    let place = match sys::open(context.work_dir, 0) {
        Ok(place) => place,
        Err(error) => context.abort_setup(b"open", error),
    };
    attempt_call(
        context,
        b"open_by_handle_at",
        nr::OPEN_BY_HANDLE_AT,
        [place, sys::mut_ptr(&mut handle), O_PATH],
    );
}

pub(crate) fn keyrings(context: &AttackContext) {
    const KEYCTL_GET_KEYRING_ID: usize = 0;
    let session = sys::signed(-3);
    attempt_call(context, b"keyctl", nr::KEYCTL, [KEYCTL_GET_KEYRING_ID, session, 1]);
    let (kind, name, data) =
        (sys::cstr_ptr(c"user"), sys::cstr_ptr(c"crucible"), sys::cstr_ptr(c"x"));
    attempt_call(context, b"add_key", nr::ADD_KEY, [kind, name, data, 1, session]);
    // Without a helper program, so that the kernel only searches.
    attempt_call(context, b"request_key", nr::REQUEST_KEY, [kind, name, 0, session]);
}

pub(crate) fn io_uring(context: &AttackContext) {
    let mut parameters = [0u32; 30];
    attempt_call(
        context,
        b"io_uring_setup",
        nr::IO_URING_SETUP,
        [4, sys::mut_ptr(&mut parameters)],
    );
}

pub(crate) fn bpf(context: &AttackContext) {
    // `BPF_MAP_CREATE` of an array with one entry.
    let attributes = [2u32, 4, 8, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    attempt_call(context, b"bpf", nr::BPF, [0, sys::ptr(&attributes), size_of_val(&attributes)]);
}

pub(crate) fn perf_events(context: &AttackContext) {
    // `PERF_TYPE_SOFTWARE`, `PERF_COUNT_SW_DUMMY`.
    let mut attributes = [0u64; 16];
    for (slot, value) in attributes.iter_mut().zip([1 | (128 << 32), 9]) {
        *slot = value;
    }
    attempt_call(
        context,
        b"perf_event_open",
        nr::PERF_EVENT_OPEN,
        [sys::ptr(&attributes), 0, sys::signed(-1), sys::NO_FD, 0],
    );
}

pub(crate) fn user_faults(context: &AttackContext) {
    // Without `UFFD_USER_MODE_ONLY`, which unprivileged programs may use.
    attempt_call(context, b"userfaultfd", nr::USERFAULTFD, [0]);
}

pub(crate) fn kexec(context: &AttackContext) {
    // No segments: the call only unloads, and nothing is loaded.
    attempt_call(context, b"kexec_load", nr::KEXEC_LOAD, [0, 0, 0, 0]);
    attempt_call(
        context,
        b"kexec_file_load",
        nr::KEXEC_FILE_LOAD,
        [sys::NO_FD, sys::NO_FD, 0, 0, 0],
    );
}

pub(crate) fn load_module(context: &AttackContext) {
    let image = [0u8; 64];
    attempt_call(
        context,
        b"init_module",
        nr::INIT_MODULE,
        [sys::ptr(&image), 64, sys::cstr_ptr(c"")],
    );
    attempt_call(context, b"finit_module", nr::FINIT_MODULE, [sys::NO_FD, sys::cstr_ptr(c""), 0]);
    attempt_call(
        context,
        b"delete_module",
        nr::DELETE_MODULE,
        [sys::cstr_ptr(c"crucible_no_such"), 0o4000],
    );
}

pub(crate) fn quotas(context: &AttackContext) {
    // `Q_GETFMT` of user quotas, on a file that is not a block device.
    const Q_GETFMT_USER: usize = 0x80_0004_00;
    let mut format = 0u32;
    let arguments = [Q_GETFMT_USER, sys::cstr_ptr(c"/dev/null"), 0, sys::mut_ptr(&mut format)];
    attempt_call(context, b"quotactl", nr::QUOTACTL, arguments);
}

pub(crate) fn swap(context: &AttackContext) {
    let path = context.path_in_work_dir(b"swap").path().as_ptr().expose_provenance();
    attempt_call(context, b"swapon", nr::SWAPON, [path, 0]);
}

/// Calls reboot(2) with an undefined command.
pub(crate) fn restart(context: &AttackContext) {
    attempt_call(context, b"reboot", nr::REBOOT, [0xfee1_dead, 672_274_793, 0x1234_5678, 0]);
}

pub(crate) fn kernel_log(context: &AttackContext) {
    const SYSLOG_ACTION_READ_ALL: usize = 3;
    let mut text = [0u8; 256];
    attempt_call(
        context,
        b"syslog",
        nr::SYSLOG,
        [SYSLOG_ACTION_READ_ALL, sys::mut_ptr(&mut text), 256],
    );
}

/// Switches process accounting off, which is its current state.
pub(crate) fn accounting(context: &AttackContext) {
    attempt_call(context, b"acct", nr::ACCT, [0]);
}

pub(crate) fn io_ports(context: &AttackContext) {
    attempt_call(context, b"iopl", nr::IOPL, [3]);
}

pub(crate) fn fanotify(context: &AttackContext) {
    attempt_call(context, b"fanotify_init", nr::FANOTIFY_INIT, [0, 0]);
}

pub(crate) fn move_pages(context: &AttackContext) {
    let node = 1u64;
    attempt_call(context, b"move_pages", nr::MOVE_PAGES, [0, 0, 0, 0, 0, 0]);
    attempt_call(
        context,
        b"migrate_pages",
        nr::MIGRATE_PAGES,
        [0, 1, sys::ptr(&node), sys::ptr(&node)],
    );
}

/// Writes a segment descriptor into the processor's local table (CVE-2015-5157 and others).
pub(crate) fn local_descriptors(context: &AttackContext) {
    // number, base, limit, flags: an empty descriptor.
    let descriptor = [0u32, 0, 0, 0x28];
    attempt_call(context, b"modify_ldt", nr::MODIFY_LDT, [1, sys::ptr(&descriptor), 16]);
}

/// Changes the host name. This needs a privilege even in a UTS namespace of the sandbox.
pub(crate) fn host_name(context: &AttackContext) {
    attempt_call(context, b"sethostname", nr::SETHOSTNAME, [sys::cstr_ptr(c"owned"), 5]);
    attempt_call(context, b"setdomainname", nr::SETDOMAINNAME, [sys::cstr_ptr(c"owned"), 5]);
}

/// Makes a call of another ABI in a child, because a filter may kill the caller.
fn attempt_foreign_abi(context: &AttackContext, what: &'static [u8], call: impl FnOnce() -> bool) {
    let child = children::start(|| sys::exit(if call() { 42 } else { 43 }));
    match child.and_then(|pid| sys::wait(pid, 0)) {
        Ok((_, status)) if status == 42 << 8 => context.report_harm(what),
        // An exit with 43, or a signal from the filter.
        Ok((_, status)) => {
            context.report_finding(if status == 43 << 8 { b"refused" } else { b"ended" })
        }
        Err(error) => context.abort_setup(b"fork", error),
    }
}

pub(crate) fn calls_of_x32(context: &AttackContext) {
    const X32: u32 = 0x4000_0000;
    attempt_foreign_abi(context, b"getpid of x32", || sys::call(X32 | nr::GETPID, []).is_ok());
}

/// Calls `getpid`, which has the number 20 in this ABI.
pub(crate) fn calls_of_i386(context: &AttackContext) {
    attempt_foreign_abi(context, b"getpid of i386", || arch::syscall_32(20) > 0);
}
